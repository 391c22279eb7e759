"""Read rows of .parquet files, of pandas, `datasets`, or a database."""

from __future__ import annotations  # pyarrow is imported only when a Parquet file is met

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading.arrow import ROWS_AT_ONCE, ROWS_OF_LABELS_AT_ONCE, classes_in, rows_in
from thumbtune.feedback.reading.record import Record, check_width, is_among

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

BYTES_AT_ONCE = 256_000_000  # of rows that are in memory at a time
MAX_ROWS = 10**12  # a file that claims more rows, or fewer than 0, is damaged
PAGE = 1 << 20  # bytes that are read at a time, instead of whole columns of a row group


def rows_of(file: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, Record | None]]:
    """Yield each row with its number. `columns`, in lower case, limits what is read.

    Raises:
        ThumbtuneError: it is no Parquet file, or damaged.
    """
    with _opened(file) as table:
        classes = classes_in(table.schema_arrow.metadata)
        wanted = None if columns is None else [name for name in table.schema_arrow.names if is_among(name, columns)]
        at_once = _rows_at_once(table, labels=columns is not None)
        number, begin = 0, f"{file.name}, row "
        for batch in table.iter_batches(batch_size=at_once, columns=wanted, use_threads=False):
            for row in rows_in(batch, classes, at_once):
                number += 1
                yield f"{begin}{number}", row


def first_row(file: Path) -> Record | None:
    """Return the first row, without reading others; None for an empty table.

    Raises:
        ThumbtuneError: it is no Parquet file, or damaged.
    """
    with _opened(file) as table:
        batch = next(table.iter_batches(batch_size=1, use_threads=False), None)
        return None if batch is None else next(rows_in(batch, classes_in(table.schema_arrow.metadata)), None)


def header_of(file: Path) -> list[str]:
    """Return the names of the columns, as written.

    Raises:
        ThumbtuneError: it is no Parquet file.
    """
    with _opened(file) as table:
        return list(table.schema_arrow.names)


def count_of(file: Path) -> int:
    """Return the number of rows; 0 for an impossible number.

    Raises:
        ThumbtuneError: it is no Parquet file.
    """
    with _opened(file) as table:
        rows = table.metadata.num_rows
    return rows if 0 <= rows <= MAX_ROWS else 0


@contextmanager
def _opened(file: Path) -> Iterator[ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=PAGE)
    except (pa.ArrowException, ValueError, OverflowError, KeyError, RecursionError) as error:
        raise ThumbtuneError(f"{file} is not a Parquet file; export it again.", code="parquet-invalid") from error
    with table:
        check_width(file, table.metadata.num_columns)
        try:
            yield table
        except (pa.ArrowException, ValueError, OverflowError, KeyError, RecursionError) as error:
            raise ThumbtuneError(f"{file} is damaged; export it again.", code="parquet-damaged") from error


def _rows_at_once(table: ParquetFile, labels: bool) -> int:
    """Return how many rows fit into the memory. A repeated long text is stored once, so that a small file may unfold.

    No cell is longer than its whole group of rows. The sizes of columns are not read: on a damaged file, pyarrow 26
    ends the process over them instead of raising an error.
    """
    least, most = (ROWS_AT_ONCE, ROWS_OF_LABELS_AT_ONCE) if labels else (1, ROWS_AT_ONCE)
    groups = range(table.metadata.num_row_groups)
    largest = max((table.metadata.row_group(number).total_byte_size for number in groups), default=0)
    return max(least, min(most, BYTES_AT_ONCE // max(1, largest)))
