"""Likes in a table, a row each: .jsonl, .json, .csv, .tsv or .parquet, of Hugging Face's imagefolder or any other.

Which column is what is in `columns`, what its label means in `feedback.labels`, and where its picture may lie in
`places`. What numbers mean depends on all rows, so the labels are read once before anything is found.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.cells import (
    grade_in,
    moment_in,
    number_in,
    prompt_in,
    text_in,
    uuid_in,
    whole_number_in,
)
from thumbtune.feedback.labels import Scale
from thumbtune.feedback.pictures import UnreadablePicture
from thumbtune.feedback.shown import listed, named
from thumbtune.feedback.sources.columns import Columns
from thumbtune.feedback.sources.found import AS_FOUND, Found, Reading
from thumbtune.feedback.sources.image_cells import picture_in
from thumbtune.feedback.sources.places import Place, check_root
from thumbtune.feedback.sources.rows import (
    METADATA_SUFFIXES,
    Record,
    count_rows,
    header_of,
    kind_of,
    read_rows,
    why_broken,
)
from thumbtune.feedback.sources.splits import parquet_files
from thumbtune.feedback.sources.texts import check_encoding

METADATA = "metadata"


def recognises(path: Path) -> bool:
    """Whether this is a file whose name says that it is a table, or a folder with such files in it. It never raises."""
    try:
        return bool(_in_folder(path)) if path.is_dir() else kind_of(path) is not None and path.is_file()
    except (OSError, ValueError):
        return False


def opened(path: Path, reading: Reading = AS_FOUND) -> "Table":
    """The table in a file, or in a folder: metadata beside its pictures, or the shards of one that `datasets` wrote.

    Raises:
        ThumbtuneError: the folder holds none, or several.
    """
    if not path.is_dir():
        return Table(path, reading)
    files = _in_folder(path)
    if not files:
        raise ThumbtuneError(f"{path} holds no table; give the file itself.")
    if len(files) > 1 and files[0].stem == METADATA:
        names = " and ".join(file.name for file in files)
        raise ThumbtuneError(f"{path} holds {names}; give the path of the one to read.")
    return Table(files, reading)


def _in_folder(folder: Path) -> list[Path]:
    metadata = [folder / f"{METADATA}{suffix}" for suffix in METADATA_SUFFIXES]
    return [file for file in metadata if file.is_file()] or parquet_files(folder)


class Table:
    """One table, or the shards of one. File names in it are relative to the folder it lies in, or to the root given.

    Raises:
        UsageError: something in `reading` is off, or names a column that there is not.
        ThumbtuneError: a file cannot be read.
    """

    def __init__(self, files: Path | Sequence[Path], reading: Reading = AS_FOUND) -> None:
        self.files = (files,) if isinstance(files, Path) else tuple(files)
        self.reading = reading
        self.columns = Columns(reading.columns)
        _check(reading)
        self._places = {file.parent: Place(file.parent, reading.root) for file in self.files}
        self._check_columns()

    def __length_hint__(self) -> int:
        return sum(count_rows(file) for file in self.files)

    def __iter__(self) -> Iterator[Found]:
        for file in self.files:
            for where, row in read_rows(file, encoding=self.reading.encoding):
                yield self._found(row, where, file)

    @cached_property
    def _scales(self) -> dict[str, Scale]:
        """What the numbers in each column of labels mean."""
        scales = {name: Scale(self.reading.like_at) for name in self.columns.names["label"]}
        only = self.columns.of_labels()
        rows = chain.from_iterable(read_rows(file, encoding=self.reading.encoding, columns=only) for file in self.files)
        for _, row in islice(rows, self.reading.limit):
            for name, cell in self.columns.labels_in(row or {}):
                scales[name].see(cell)
        return scales

    def _found(self, row: Record | None, where: str, file: Path) -> Found:
        """Read one row; whatever is wrong with it is in the `problem`, so that the rows after it still count."""
        if row is None:
            return Found(where=where, problem=why_broken(file))
        ours = self.columns.ours_in(row)
        prompt, (liked, problem), image = prompt_in(ours), self._label_in(row), None
        if liked is None or prompt is None:  # without a prompt in the row there may still be one for all
            where = f"{where} (columns: {listed(row)})"
        try:
            image = picture_in(ours["image"], self._places[file.parent], self.reading.allow_download)
            extras = _extras_of(ours, file)
        except (UnreadablePicture, ValueError) as error:
            image, problem, extras = None, str(error), {}
        return Found(where=where, image=image, prompt=prompt, liked=liked, problem=problem, **extras)  # type: ignore[arg-type]

    def _label_in(self, row: Record) -> tuple[bool | None, str | None]:
        """Liked or not; or None, and why, if there is more to say than that nothing says so."""
        labels = self.columns.labels_in(row)
        said = {name: liked for name, cell in labels if (liked := self._scales[name].liked(cell)) is not None}
        if len(set(said.values())) > 1:
            one, other = (next(name for name in said if said[name] is liked) for liked in (True, False))
            return (
                None,
                f"{named(one)} says like and {named(other)} dislike; say which counts: --map label={named(one)}",
            )
        if said:
            return next(iter(said.values())), None
        return None, next((why for name, cell in labels if (why := self._scales[name].why_not(name, cell))), None)

    def _check_columns(self) -> None:
        """Compare what is mapped with what there is: headers where there are any, else rows until all is found.

        Raises:
            UsageError: a mapped column is in none of the files.
            ThumbtuneError: two columns are called the same, and we need one of that name.
        """
        missing, seen = set(self.columns.mapped.values()), dict[str, None]()
        for file in self.files:
            header = header_of(file, encoding=self.reading.encoding)
            if doubled := self.columns.doubled_in(header or ()):
                raise ThumbtuneError(f"{file} has several columns {named(doubled[0])}; rename all but one.")
            rows = (row for _, row in read_rows(file, encoding=self.reading.encoding))
            lacking, there = self.columns.missing_in(header, rows)
            missing, seen = missing & lacking, seen | dict.fromkeys(there)
        if missing:
            names = ", ".join(named(name) for name in sorted(missing))
            raise UsageError(f"{self.files[0]} has no column {names}; its columns are {listed(seen)}.")


def _extras_of(ours: Record, file: Path) -> dict[str, object]:
    """What may be said beside the thumb itself.

    Raises:
        ValueError: a cell is filled with something else.
    """
    weight = number_in(ours, "weight")
    return {
        "rater": text_in(ours, "rater"),
        "weight": 1.0 if weight is None else weight,
        "grade": grade_in(ours, "grade"),
        "reason": text_in(ours, "reason"),
        "pair": text_in(ours, "pair"),
        "seed": whole_number_in(ours, "seed"),
        "model": text_in(ours, "model"),
        "source": text_in(ours, "source") or file.name,
        "created_at": moment_in(ours, "created_at"),
        "vote_id": uuid_in(ours, "vote_id"),
    }


def _check(reading: Reading) -> None:
    """Refuse what cannot be meant.

    Raises:
        UsageError: the number from which likes begin is none, the root no folder, or the encoding unknown.
    """
    if reading.like_at is not None and not math.isfinite(reading.like_at):
        raise UsageError(f"likes cannot begin at {reading.like_at}; give a number, as in --like-at 4.")
    if reading.encoding is not None:
        check_encoding(reading.encoding)
    check_root(reading.root)
