"""The images of a log: each distinct one is found, read, hashed and checked once, as an import does.

An image on this machine, or in the table itself, is known by the SHA-256 of its bytes, as in a store. So the same votes
give the same labels, latents and noise, by whatever way they come. An image at an address (s3://, gs://, hf://) is
known by its address: it is read when it is encoded, and not before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from thumbtune.feedback.event_log.cells import FILE, HELD, PLACE, LogCells
from thumbtune.feedback.event_log.engine import batches, insert, name
from thumbtune.feedback.event_log.files import SCHEME
from thumbtune.feedback.held_images import address_of
from thumbtune.feedback.images import MAX_BYTES, UnreadableImage, inspect_image
from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading.arrow import rows_in
from thumbtune.feedback.reading.cells import is_blank
from thumbtune.feedback.reading.image_cells import file_of, image_in, unwrapped
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.reader import RowReader
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.source import Bytes
from thumbtune.files import sha256

WEB = ("http", "https")
# others, as local:// and zip://, also open files of this machine
REMOTE = ("s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss")
AT_ONCE = 512  # images that wait for the threads
FOLDER = "_thumbtune_folder"
KINDS = (("our_sha256", "VARCHAR"), ("our_address", "VARCHAR"), ("our_bad", "TINYINT"), ("our_why", "VARCHAR"))
AS_TEXT = "it is written as text; save the bytes of the image in the column, or import the table into a store"
Meaning = tuple[str | None, str | None, int, str | None]  # sha256, address, 0 or the kind of fault, and why


class LogImages:
    """Makes the table `image` of a log.

    folders: where the files of the log lie, whose images are named relative to them
    root: as in an import: images on this machine lie below it
    """

    def __init__(self, cells: LogCells, reader: RowReader, folders: list[str], root: Path | None) -> None:
        self.cells, self.reader, self.folders, self.root = cells, reader, folders, root
        self.columns = cells.columns_of(reader.columns, "image")
        cells.hold(self.columns)
        self.join = ""
        self._places = [ImageRoot(Path(f), root, survey=self._survey) for f in folders if not SCHEME.match(f)]

    def make(self) -> list[str]:
        """Make the table: the distinct cells of images, their hashes and addresses; return the columns of the cells."""
        if not self.columns:
            self._find_column()
        cells = ", ".join([f"f.folder AS {FOLDER}", *(f"e.{name(column)}" for column in self.columns)])
        connection = self.cells.connection
        connection.execute(
            f"CREATE OR REPLACE TABLE raw_image AS SELECT row_number() OVER () AS our_code, * FROM (SELECT DISTINCT "
            f"{cells} FROM events e JOIN files f ON e.{FILE} = f.name)"
        )
        insert(connection, "meaning", [("our_code", "BIGINT"), *KINDS], self._meanings())
        connection.execute("CREATE OR REPLACE TABLE image AS SELECT * FROM raw_image JOIN meaning USING (our_code)")
        on = [f"e.{name(column)} IS NOT DISTINCT FROM image.{name(column)}" for column in self.columns]
        self.join = f"JOIN image ON {' AND '.join([f'image.{FOLDER} = f.folder', *on])}"
        self._address_held()
        return self.columns

    def _find_column(self) -> None:
        """Find the column of images by its cells, if none has a name that says it."""
        sample = next(iter(self.cells.rows()), {})
        column, _ = self.reader.image_column(sample, partial(self.read_cell, 0))
        self.columns = [each for each in self.cells.header if column is not None and each.strip().lower() == column]
        self.cells.hold(self.columns)

    def _survey(self, place: ImageRoot) -> bool:
        return self.reader.survey(self.cells.rows(self.columns), place)

    def read_cell(self, folder: int, cell: object) -> Bytes:
        """Return the function that reads an image in a folder of the log; it raises as `image_in`."""
        return image_in(cell, self._places[folder] if self._places else ImageRoot(Path()))

    def _cell_of(self, row: Record) -> object:
        ours = self.reader.columns.ours_in(row)["image"]
        return row.get(self.columns[0].strip().lower()) if ours is None and len(self.columns) == 1 else ours

    def _meanings(self) -> Iterator[tuple[Any, ...]]:
        """Yield the code of each distinct cell and what it means; files are read by several threads."""
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with ThreadPoolExecutor(workers) as pool:
            rows = self._rows()
            while part := list(islice(rows, AT_ONCE)):
                for (code, *_), meaning in zip(part, pool.map(lambda row: self._meaning(*row[1:]), part), strict=True):
                    yield code, *meaning

    def _rows(self) -> Iterable[Any]:
        for batch in batches(self.cells.connection, "SELECT * FROM raw_image"):
            codes, folders = batch.column("our_code").to_pylist(), batch.column(FOLDER).to_pylist()
            cells = batch.drop_columns(["our_code", FOLDER])
            rows = rows_in(cells, self.cells.classes, cells.num_rows) if cells.num_columns else ({} for _ in codes)
            for code, folder, row in zip(codes, folders, rows, strict=True):
                yield code, folder, self._cell_of(row)

    def _meaning(self, folder: int, cell: object) -> Meaning:
        cell = unwrapped(cell)
        try:
            if isinstance(cell, bytes) and cell.startswith(HELD.encode()):
                digest, _, length = cell.decode().removeprefix(HELD).partition(":")
                if int(length) > MAX_BYTES:
                    raise UnreadableImage(f"it is larger than {MAX_BYTES // 1_000_000} MB; make it smaller")
                return digest, None, 0, None
            address = self.remote(cell, folder)
            if address is not None:
                return sha256(address.encode()), address, 0, None
            read = self.read_cell(folder, cell)
        except (UnreadableImage, ValueError) as error:
            return None, None, 1, str(error)
        try:
            data = read()
            inspect_image(data)
        except UnreadableImage as error:
            return None, None, 2, str(error)
        file = file_of(read)
        return (None, None, 2, AS_TEXT) if file is None else (sha256(data), str(file), 0, None)

    def remote(self, cell: object, folder: int) -> str | None:
        """Return the address of an image that is not on this machine; None for any other cell.

        A log from elsewhere must not choose files of this machine, nor servers of its network.

        Raises:
            UnreadableImage: a name leads out of the folder of a log at an address, or its scheme is none of `REMOTE`.
        """
        cell = unwrapped(cell)
        if not isinstance(cell, str) or is_blank(cell) or cell.lstrip()[:5].lower() == "data:":
            return None
        name, of_folder = cell.strip(), SCHEME.match(self.folders[folder])
        is_file, scheme = name[:5].lower() == "file:", SCHEME.match(name)
        if scheme is not None and not is_file:
            return _checked_address(name, scheme[1].lower(), of_folder)
        if of_folder is None:
            return None
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "::" in name or is_file:
            raise UnreadableImage(f"{shown(name)} is outside the folder; name the image with its whole address")
        return f"{self.folders[folder].rstrip('/')}/{path}"

    def _address_held(self) -> None:
        """Check the images inside the table, one row of each, and note where their bytes lie."""
        connection = self.cells.connection
        held = [column for column in self.columns if column in self.cells.held]
        if not held:
            return
        connection.execute(
            f"CREATE OR REPLACE TABLE held AS SELECT image.our_code, min(f.first + e.{PLACE}) AS n "
            f"FROM events e JOIN files f ON e.{FILE} = f.name {self.join} "
            "WHERE image.our_address IS NULL AND image.our_bad = 0 GROUP BY ALL"
        )
        found = f"""SELECT held.our_code, f.name AS file, e.{PLACE} AS place, {", ".join(f"e.{name(c)}" for c in held)}
            FROM raw_events e JOIN files f ON e.{FILE} = f.name JOIN held ON held.n = f.first + e.{PLACE}"""
        insert(connection, "checked", [("our_code", "BIGINT"), *KINDS[1:]], self._checked(found, held))
        connection.execute(
            "UPDATE image SET our_address = c.our_address, our_bad = c.our_bad, our_why = c.our_why, "
            "our_sha256 = CASE WHEN c.our_bad = 0 THEN our_sha256 END FROM checked c WHERE c.our_code = image.our_code"
        )

    def _checked(self, found: str, held: list[str]) -> Iterator[tuple[Any, ...]]:
        for batch in batches(self.cells.connection, found, 64):
            for row in batch.to_pylist():
                column, data = next(((c, d) for c in held if isinstance(d := unwrapped(row[c]), bytes)), ("", b""))
                try:
                    inspect_image(data)
                    yield row["our_code"], address_of(row["file"], row["place"], column, sha256(data)), 0, None
                except UnreadableImage as error:
                    yield row["our_code"], None, 2, str(error)


def _checked_address(address: str, scheme: str, of_folder: re.Match[str] | None) -> str:
    """Return the address of an image, or refuse it.

    Raises:
        UnreadableImage: it may lead to this machine, or to a server that nobody named.
    """
    is_of_log = scheme == "memory" and of_folder is not None and of_folder[1].lower() == scheme
    if (scheme in REMOTE or is_of_log) and "::" not in address:
        return address
    if scheme in WEB:
        raise UnreadableImage(f"{shown(address)} is a URL, which a log does not read; download it and give its path")
    schemes = ", ".join(f"{each}://" for each in REMOTE)
    raise UnreadableImage(
        f"{shown(address)} is no address that a log may name ({schemes}); put the image there or into the log's folder"
    )


def folder_of(file: str) -> str:
    """Return the folder of a file, on this machine or at an address."""
    if not SCHEME.match(file):
        return str(Path(file).parent)
    parts = urlsplit(file)
    return f"{parts.scheme}://{parts.netloc}{PurePosixPath(parts.path).parent}"
