"""Read the rows of a table of any kind, one by one, with column names in lower case."""

import csv
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePath

from thumbtune.errors import ThumbtuneError, reason
from thumbtune.feedback.reading import csv_rows, json_rows, parquet
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.reading.texts import GZIP, MAX_ROW, open_text

__all__ = [
    "METADATA_SUFFIXES",
    "TABLE_SUFFIXES",
    "Record",
    "count_rows",
    "first_row",
    "header_of",
    "kind_of",
    "read_rows",
    "why_broken",
]

METADATA_SUFFIXES = (".jsonl", ".csv", ".parquet")  # of metadata files in Hugging Face's imagefolder
TABLE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")  # all but .parquet also with .gz
BLOCK = 1 << 20  # bytes
FIRST_LINE = 1 << 20  # characters of the longest first line that `first_row` reads


def kind_of(file: Path) -> str | None:
    """Return the suffix of a table's name, without .gz; None for a file that is no table."""
    name = file.name.lower()
    kind = PurePath(name.removesuffix(GZIP)).suffix
    return kind if kind in TABLE_SUFFIXES and not (kind == ".parquet" and name.endswith(GZIP)) else None


def read_rows(
    file: Path, *, encoding: str | None = None, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, Record | None]]:
    """Yield each row with its place in the file; None for a broken row (`why_broken`).

    `encoding` is for text that is not UTF-8. If `columns` are given, only those are needed.

    Raises:
        ThumbtuneError: the file cannot be read, or its content does not match its suffix.
    """
    try:
        yield from _rows_of(file, encoding, columns)
    except (UnicodeError, csv.Error, EOFError, zlib.error, OSError, MemoryError) as error:
        raise _error_of(file, error, encoding) from error


def header_of(file: Path, *, encoding: str | None = None) -> list[str] | None:
    """Return the names of the columns, as written; None for JSON, where each row names its own.

    Raises:
        ThumbtuneError: the file cannot be read, or its content does not match its suffix.
    """
    kind = kind_of(file)
    try:
        if kind == ".parquet":
            return parquet.header_of(file)
        return csv_rows.header_of(file, kind, encoding) if kind in csv_rows.DELIMITERS else None
    except (UnicodeError, csv.Error, EOFError, zlib.error, OSError, MemoryError) as error:
        raise _error_of(file, error, encoding) from error


def first_row(file: Path) -> Record | None:
    """Return the first row of a file, to recognise its kind, or None. It is quick and never raises."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return None
    row = _first_row(file, stat.st_mtime_ns, stat.st_size)
    return None if row is None else dict(row)


@lru_cache(maxsize=1)  # several kinds of sources ask for the same row, one after the other
def _first_row(file: Path, _time: int, _size: int) -> Record | None:
    for encoding in (None, "latin-1"):  # latin-1 decodes all bytes, and column names are almost always ASCII
        try:
            if kind_of(file) is None or not file.is_file():
                return None
            if kind_of(file) == ".parquet":
                return parquet.first_row(file)
            if kind_of(file) == ".json" or _first_line_is_short(file, encoding):
                return next((row for _, row in read_rows(file, encoding=encoding)), None)
        except ThumbtuneError as error:
            if error.code != "text-wrong-encoding":  # another encoding would not help
                return None
        except Exception:  # a file may break a parser in any way; then it is not recognised
            continue
    return None


def why_broken(file: Path) -> str:
    """Return what is wrong with a row that came as None."""
    if kind_of(file) in csv_rows.DELIMITERS:
        return "it has more cells than the header; put quotes around those that hold the delimiter"
    return f"it is not a JSON object of at most {MAX_ROW // 1_000_000} MB; correct it or remove it"


def count_rows(file: Path) -> int:
    """Return about how many rows there are; 0 for a file that cannot be read, as reading it raises the error."""
    kind = kind_of(file)
    try:
        if kind == ".parquet":
            return parquet.count_of(file)
        if kind == ".json" or file.name.lower().endswith(GZIP):
            return 0  # the whole file would have to be read
        return max(0, _count_lines(file) - (kind in csv_rows.DELIMITERS))
    except (OSError, ThumbtuneError, MemoryError):
        return 0


def _rows_of(file: Path, encoding: str | None, columns: Sequence[str] | None) -> Iterator[tuple[str, Record | None]]:
    kind = kind_of(file)
    if kind is None:
        raise ThumbtuneError(
            f"{file} is not a {', '.join(TABLE_SUFFIXES[:-1])} or {TABLE_SUFFIXES[-1]} file; give such a file.",
            code="table-unknown-format",
        )
    if kind == ".parquet":
        return parquet.rows_of(file, columns)
    if kind == ".json":
        return json_rows.rows_of_document(file, encoding)
    if kind in csv_rows.DELIMITERS:
        return csv_rows.rows_of(file, kind, encoding)
    return json_rows.rows_of_lines(file, encoding)


def _first_line_is_short(file: Path, encoding: str | None) -> bool:
    with open_text(file, encoding) as text:
        return len(text.readline(FIRST_LINE)) < FIRST_LINE


def _count_lines(file: Path) -> int:
    ends, last = 0, b"\n"
    with file.open("rb") as blocks:
        while block := blocks.read(BLOCK):
            ends, last = ends + block.count(b"\n"), block[-1:]
    return ends + (last != b"\n")


def _error_of(file: Path, error: Exception, encoding: str | None) -> ThumbtuneError:
    if isinstance(error, UnicodeError):
        return ThumbtuneError(
            f"{file} is not {encoding or 'UTF-8'} text; "
            "save it again as UTF-8, or give its encoding, as in --encoding cp1252.",
            code="text-wrong-encoding",
        )
    if isinstance(error, csv.Error):
        return ThumbtuneError(f"{file} is not a CSV table ({error}); export it again.", code="csv-invalid")
    if isinstance(error, MemoryError):
        return ThumbtuneError(f"{file} does not fit into memory; split it into several files.", code="table-too-large")
    why = getattr(error, "strerror", None) or reason(error)
    return ThumbtuneError(f"{file} could not be read ({why}); check the file.", code="table-unreadable")
