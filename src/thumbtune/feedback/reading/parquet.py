"""Rows of .parquet files, whoever wrote them: pandas, `datasets`, a database."""

from __future__ import annotations  # pyarrow is imported only when a Parquet file is met

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading.arrow import ROWS_AT_ONCE, ROWS_OF_LABELS_AT_ONCE, classes_in, rows_in
from thumbtune.feedback.reading.record import Record, lowered_name

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

BYTES_AT_ONCE = 256_000_000  # of a file that says how long its cells may be
MOST_ROWS = 10**12  # what says that it has more, or less than none, is damaged
PAGE = 1 << 20  # bytes that are read at once, in place of whole columns of a row group


def rows_of(file: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, Record | None]]:
    """Each row with its number; of some `columns`, named in lower case, alone if they are given.

    Raises:
        ThumbtuneError: it is no Parquet file, or damaged.
    """
    with _opened(file) as table:
        classes = classes_in(table.schema_arrow.metadata)
        wanted = (
            None if columns is None else [name for name in table.schema_arrow.names if lowered_name(name) in columns]
        )
        at_once = _rows_at_once(table, labels=columns is not None)
        number = 0
        for batch in table.iter_batches(batch_size=at_once, columns=wanted, use_threads=False):
            for row in rows_in(batch, classes, at_once):
                number += 1
                yield f"{file.name}, row {number}", row


def first_row(file: Path) -> Record | None:
    """The first row, read without the others; None where there is none.

    Raises:
        ThumbtuneError: it is no Parquet file, or damaged.
    """
    with _opened(file) as table:
        batch = next(table.iter_batches(batch_size=1, use_threads=False), None)
        return None if batch is None else next(rows_in(batch, classes_in(table.schema_arrow.metadata)), None)


def header_of(file: Path) -> list[str]:
    """The names of the columns, as they are written.

    Raises:
        ThumbtuneError: it is no Parquet file.
    """
    with _opened(file) as table:
        return list(table.schema_arrow.names)


def count_of(file: Path) -> int:
    """How many rows there are, if that can be.

    Raises:
        ThumbtuneError: it is no Parquet file.
    """
    with _opened(file) as table:
        rows = table.metadata.num_rows
    return rows if 0 <= rows <= MOST_ROWS else 0


@contextmanager
def _opened(file: Path) -> Iterator[ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=PAGE)
    except (pa.ArrowException, ValueError, OverflowError, KeyError, RecursionError) as error:
        raise ThumbtuneError(f"{file} is not a Parquet file; export it again.", code="parquet-invalid") from error
    with table:
        try:
            yield table
        except (pa.ArrowException, ValueError, OverflowError, KeyError, RecursionError) as error:
            raise ThumbtuneError(f"{file} is damaged; export it again.", code="parquet-damaged") from error


def _rows_at_once(table: ParquetFile, labels: bool) -> int:
    """How many rows fit into the memory. A long text that recurs is stored once, so that a small file may unfold.

    No cell is longer than its whole group of rows. What each column takes of it is not asked: where a file is damaged,
    pyarrow 26 ends the process instead of raising an error.
    """
    least, most = (ROWS_AT_ONCE, ROWS_OF_LABELS_AT_ONCE) if labels else (1, ROWS_AT_ONCE)
    groups = range(table.metadata.num_row_groups)
    largest = max((table.metadata.row_group(number).total_byte_size for number in groups), default=0)
    return max(least, min(most, BYTES_AT_ONCE // max(1, largest)))
