"""Rows of metadata.jsonl, .csv and .parquet, with their column names in lower case."""

from __future__ import annotations  # pyarrow is imported only when a Parquet file is met

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbtune.errors import ThumbtuneError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

METADATA_SUFFIXES = (".jsonl", ".csv", ".parquet")
ROWS_AT_ONCE = 64  # of Parquet with the pictures inside: a row may be megabytes

Record = dict[str, object]


def read_rows(file: Path) -> Iterator[tuple[str, Record | None]]:
    """Each row with where it stands. A line that is no JSON object comes as None.

    Raises:
        ThumbtuneError: the file cannot be read, or is not what its name says.
    """
    try:
        yield from _READERS[file.suffix.lower()](file)
    except UnicodeDecodeError as error:
        raise ThumbtuneError(f"{file} is not UTF-8 text; save it again as UTF-8.") from error
    except csv.Error as error:
        raise ThumbtuneError(f"{file} is not a CSV table ({error}); export it again.") from error
    except OSError as error:
        raise ThumbtuneError(f"{file} could not be read ({error.strerror or error}); check the file.") from error


def count_rows(file: Path) -> int:
    """About how many rows there are. A hint: what cannot be read counts 0 and fails later, in words."""
    try:
        if file.suffix.lower() == ".parquet":
            return _parquet(file).metadata.num_rows
        with file.open("rb") as lines:
            return sum(1 for line in lines if line.strip()) - (file.suffix.lower() == ".csv")
    except (OSError, ThumbtuneError):
        return 0


def _jsonl(file: Path) -> Iterator[tuple[str, Record | None]]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{file.name}, line {number}", _json_object(line)


def _json_object(line: str) -> Record | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _lowered(row) if isinstance(row, dict) else None


def _csv(file: Path) -> Iterator[tuple[str, Record | None]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        header = lines.readline()
        lines.seek(0)
        # Spreadsheet programs write semicolons or tabs where the comma is the decimal point.
        delimiter = max(",;\t", key=header.count)
        reader = csv.DictReader(lines, delimiter=delimiter)
        for row in reader:
            yield f"{file.name}, line {reader.line_num}", _lowered(row)


def _parquet_rows(file: Path) -> Iterator[tuple[str, Record | None]]:
    import pyarrow as pa

    table, number = _parquet(file), 0
    names = _class_names(table.schema_arrow.metadata or {})
    try:
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield f"{file.name}, row {number}", _named(_lowered(row), names)
    except pa.ArrowException as error:
        raise ThumbtuneError(f"{file} is damaged after row {number}; export it again.") from error


def _parquet(file: Path) -> ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except pa.ArrowException as error:
        raise ThumbtuneError(f"{file} is not a Parquet file; export it again.") from error


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """The names behind numbered classes, as `datasets` writes them: without them, 0 may well mean "like"."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        named = {key: what for key, what in features.items() if isinstance(what, dict)}
        return {key.lower(): what["names"] for key, what in named.items() if what.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _named(row: Record, names: dict[str, list[str]]) -> Record:
    for column, classes in names.items():
        number = row.get(column)
        if isinstance(number, int):  # -1 is how `datasets` writes "no class"
            row[column] = classes[number] if 0 <= number < len(classes) else None
    return row


def _lowered(row: Mapping[str | Any, object]) -> Record:
    """Column names in lower case; cells beyond the header (which csv files under None) are dropped."""
    return {key.strip().lower(): cell for key, cell in row.items() if isinstance(key, str)}


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Record | None]]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet_rows,
}
