"""Read likes from a table, one a row: .jsonl, .json, .csv, .tsv or .parquet, as in Hugging Face's imagefolder.

`reader` reads a row, and `image_roots` says where its image may lie.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading.image_cells import ImageCells
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.options import Rows, check_columns, sheets_of
from thumbtune.feedback.reading.reader import RowReader
from thumbtune.feedback.reading.rows import METADATA_SUFFIXES, count_rows, kind_of, read_rows, why_broken
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow

METADATA = "metadata"


def recognises(path: Path) -> bool:
    """Return whether this is a file with the suffix of a table, or a folder with metadata. It never raises."""
    try:
        return bool(_in_folder(path)) if path.is_dir() else kind_of(path) is not None and path.is_file()
    except (OSError, ValueError):
        return False


def opened(path: Path, reading: Reading = DEFAULT_READING) -> "Table":
    """Open the table in a file, or the metadata in a folder, beside its images.

    Raises:
        ThumbtuneError: the folder holds none, or several.
    """
    if not path.is_dir():
        return Table(path, reading)
    files = _in_folder(path)
    if not files:
        raise ThumbtuneError(f"{path} contains no table; give the file itself.", code="table-missing")
    if len(files) > 1:
        names = " and ".join(file.name for file in files)
        raise ThumbtuneError(f"{path} contains {names}; give the path of the table to read.", code="tables-several")
    return Table(files, reading)


def _in_folder(folder: Path) -> list[Path]:
    metadata = [folder / f"{METADATA}{suffix}" for suffix in METADATA_SUFFIXES]
    return [file for file in metadata if file.is_file()]


class Table:
    """One table, or the shards of one. File names in it are relative to the folder it lies in, or to the given root.

    Raises:
        UsageError: an option in `reading` is invalid, or names a column that the table lacks.
        ThumbtuneError: a file cannot be read.
    """

    def __init__(self, files: Path | Sequence[Path], reading: Reading = DEFAULT_READING) -> None:
        self.files = (files,) if isinstance(files, Path) else tuple(files)
        self.reading = reading
        self._reader = RowReader(reading, self._label_rows, sample=self._sample)
        check_columns(self.files[0], self._reader.columns, sheets_of(self.files, reading.encoding))

    def __length_hint__(self) -> int:
        number = sum(count_rows(file) for file in self.files)
        return number if self.reading.limit is None else min(number, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        return islice(self._rows(), self.reading.limit)

    def _rows(self) -> Iterator[SourceRow]:
        for file in self.files:
            place = ImageRoot(file.parent, self.reading.root, survey=self._survey)
            image, name = ImageCells(place, self.reading.allow_download), file.name
            for where, row in read_rows(file, encoding=self.reading.encoding):
                if row is None:
                    yield SourceRow(where=where, problem=why_broken(file))
                else:
                    yield self._reader.read(row, where, image, name)

    def described(self) -> list[str]:
        """Return which column was read as what."""
        return self._reader.described()

    def _survey(self, place: ImageRoot) -> bool:
        tables = (read_rows(file, encoding=self.reading.encoding) for file in self.files)
        return self._reader.survey((row for _, row in chain.from_iterable(tables)), place)

    def _sample(self) -> Rows:
        return (row for _, row in read_rows(self.files[0], encoding=self.reading.encoding))

    def _label_rows(self, columns: Sequence[str]) -> Rows:
        tables = (read_rows(file, encoding=self.reading.encoding, columns=columns) for file in self.files)
        return (row for _, row in chain.from_iterable(tables))
