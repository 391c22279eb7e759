"""The bytes of an image that lies inside a Parquet file: their address, and reading them by range.

    parquet:FILE#ROW#COLUMN

Of the file, only the end with its list of contents is read, and the column in the row's group of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SCHEME = "parquet:"
OPEN_FILES = 8


def address_of(file: str, row: int, column: str) -> str:
    """Return the address of a cell; rows are numbered from 0.

    >>> address_of("a.parquet", 12, "image")
    'parquet:a.parquet#12#image'
    """
    return f"{SCHEME}{file}#{row}#{column}"


def is_held(address: str | None) -> bool:
    """Return whether an address is that of a cell."""
    return address is not None and address.startswith(SCHEME)


def read_held(address: str) -> bytes:
    """Return the bytes at an address.

    Raises:
        OSError: the file is gone, or has changed.
    """
    import pyarrow as pa

    file, row, column = address.removeprefix(SCHEME).rsplit("#", 2)
    try:
        table, starts = _opened(file)
        group = max(number for number, start in enumerate(starts) if start <= int(row))
        cells = table.read_row_group(group, columns=[column]).column(0)
        cell = cells[int(row) - starts[group]].as_py()
    except (pa.ArrowException, ValueError, IndexError) as error:
        raise OSError(f"{file} has changed: {error}") from error
    cell = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(cell, bytes):
        raise OSError(f"row {row} of {file} has no image")
    return cell


@lru_cache(OPEN_FILES)
def _opened(file: str) -> tuple[Any, list[int]]:
    """Return a file, and the number of the first row of each of its groups."""
    import fsspec
    from pyarrow.parquet import ParquetFile

    system, path = fsspec.core.url_to_fs(file)
    table = ParquetFile(system.open(path, "rb"))
    starts = [0]
    for number in range(table.metadata.num_row_groups):
        starts.append(starts[-1] + table.metadata.row_group(number).num_rows)
    return table, starts[:-1]
