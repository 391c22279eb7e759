"""Read rows from Arrow batches, of Parquet files and of data sets that `datasets` saved."""

from __future__ import annotations  # pyarrow is imported only when a file that needs it is met

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from thumbtune.feedback.reading.record import Record, lowered_name, record_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 64  # with the images inside, a row may take megabytes
ROWS_OF_LABELS_AT_ONCE = 4096

Classes = Mapping[str, list[object]]  # column, in lower case -> the names behind its numbers


def classes_in(metadata: Mapping[bytes, bytes] | None) -> Classes:
    """Return the names of numbered classes, as `datasets` writes them. Without the names, 0 may mean "like"."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        objects = {key: feature for key, feature in features.items() if isinstance(feature, dict)}
        classes = {key: feature for key, feature in objects.items() if feature.get("_type") == "ClassLabel"}
        return {lowered_name(key): list(feature["names"]) for key, feature in classes.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def with_classes(row: Record, classes: Classes) -> Record:
    """Return the row, with the names of its classes in place of their numbers."""
    for column, names in classes.items():
        number = row.get(column)
        if isinstance(number, int):  # `datasets` writes -1 for "no class"
            row[column] = names[number] if 0 <= number < len(names) else None
    return row


def rows_in(batch: pa.RecordBatch, classes: Classes, at_once: int = ROWS_AT_ONCE) -> Iterator[Record]:
    """Yield the rows of a batch; `at_once` of them are Python objects at a time."""
    columns = record_of((name, place) for place, name in enumerate(batch.schema.names))  # a name -> its first column
    for start in range(0, batch.num_rows, at_once):
        part = batch.slice(start, at_once)
        lists = [_cells(part.column(place)) for place in columns.values()]
        rows = zip(*lists, strict=True) if lists else [()] * part.num_rows
        for cells in rows:
            row: Record = dict(zip(columns, cells, strict=True))
            yield with_classes(row, classes) if classes else row


def _cells(column: Any) -> list[object]:
    """Return the cells of a column. A cell that Python cannot hold, as the year 50000, is None."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)  # Python's datetime has no nanoseconds
    try:
        return column.to_pylist()
    except (ValueError, ArithmeticError, KeyError, TypeError, NotImplementedError):
        return [_cell(scalar) for scalar in column]


def _cell(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except (ValueError, ArithmeticError, KeyError, TypeError, NotImplementedError):
        return None
