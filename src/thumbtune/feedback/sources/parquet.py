"""Rows of .parquet files, whoever wrote them: pandas, `datasets`, a database."""

from __future__ import annotations  # pyarrow is imported only when a Parquet file is met

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.sources.record import Record, lowered_name, record_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

ROWS_AT_ONCE = 64  # with the pictures inside: a row may be megabytes
ROWS_OF_LABELS_AT_ONCE = 4096
PAGE = 1 << 20  # bytes that are read at once, in place of whole columns of a row group


def rows_of(file: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, Record | None]]:
    """Each row with its number; of some `columns`, named in lower case, alone if they are given.

    Raises:
        ThumbtuneError: it is no Parquet file, or damaged.
    """
    with _opened(file) as table:
        names = _class_names(table.schema_arrow.metadata or {})
        wanted = (
            None if columns is None else [name for name in table.schema_arrow.names if lowered_name(name) in columns]
        )
        at_once = ROWS_AT_ONCE if columns is None else ROWS_OF_LABELS_AT_ONCE
        number = 0
        for batch in table.iter_batches(batch_size=at_once, columns=wanted, use_threads=False):
            lists = [_cells(column) for column in batch.columns]
            for index in range(batch.num_rows):
                number += 1
                row = record_of(zip(batch.schema.names, (cells[index] for cells in lists), strict=True))
                yield f"{file.name}, row {number}", _named(row, names)


def header_of(file: Path) -> list[str]:
    """The names of the columns, as they are written.

    Raises:
        ThumbtuneError: it is no Parquet file.
    """
    with _opened(file) as table:
        return list(table.schema_arrow.names)


def count_of(file: Path) -> int:
    """How many rows there are.

    Raises:
        ThumbtuneError: it is no Parquet file.
    """
    with _opened(file) as table:
        return table.metadata.num_rows


@contextmanager
def _opened(file: Path) -> Iterator[ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=PAGE)
    except (pa.ArrowException, ValueError, OverflowError, KeyError, RecursionError) as error:
        raise ThumbtuneError(f"{file} is not a Parquet file; export it again.") from error
    with table:
        try:
            yield table
        except (pa.ArrowException, ValueError, OverflowError, KeyError, RecursionError) as error:
            raise ThumbtuneError(f"{file} is damaged; export it again.") from error


def _cells(column: Any) -> list[object]:
    """The cells of a column. One that has no counterpart in Python, as the year 50000, is empty."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)  # Python's moments know no nanoseconds
    try:
        return column.to_pylist()
    except (ValueError, ArithmeticError, KeyError, TypeError):
        return [_cell(scalar) for scalar in column]


def _cell(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except (ValueError, ArithmeticError, KeyError, TypeError):
        return None


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[object]]:
    """The names behind numbered classes, as `datasets` writes them: without them, 0 may well mean "like"."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        named = {key: what for key, what in features.items() if isinstance(what, dict)}
        classes = {key: what for key, what in named.items() if what.get("_type") == "ClassLabel"}
        return {lowered_name(key): list(what["names"]) for key, what in classes.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _named(row: Record, names: dict[str, list[object]]) -> Record:
    for column, classes in names.items():
        number = row.get(column)
        if isinstance(number, int):  # -1 is how `datasets` writes "no class"
            row[column] = classes[number] if 0 <= number < len(classes) else None
    return row
