"""The bytes of an image that lies inside a Parquet file: their address, and reading them by range.

    parquet:FILE#ROW#COLUMN#SHA256

In the name of the column, # is written as %23, and % as %25.
Of the file, only the end with its list of contents is read, and the column in the row's group of rows. The hash is that
of the bytes, so that another image that lies there now is not taken for this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from thumbtune.files import sha256

SCHEME = "parquet:"
OPEN_FILES = 8


def address_of(file: str, row: int, column: str, digest: str) -> str:
    """Return the address of a cell whose bytes have this hash; rows are numbered from 0.

    >>> address_of("a.parquet", 12, "image", "e3b0")
    'parquet:a.parquet#12#image#e3b0'
    >>> address_of("a.parquet", 12, "image #1", "e3b0")
    'parquet:a.parquet#12#image %231#e3b0'
    """
    return f"{SCHEME}{file}#{row}#{column.replace('%', '%25').replace('#', '%23')}#{digest}"


def is_held(address: str | None) -> bool:
    """Return whether an address is that of a cell."""
    return address is not None and address.startswith(SCHEME)


def read_held(address: str) -> bytes:
    """Return the bytes at an address.

    Raises:
        OSError: the file is gone, or has changed.
    """
    import pyarrow as pa

    file, *place = address.removeprefix(SCHEME).rsplit("#", 3)
    if len(place) != len(("row", "column", "digest")):
        raise OSError(f"{address} has no hash of the image; start a new run, which notes it")
    row, column, digest = place
    try:
        _, starts = _opened(file)
        group = max(number for number, start in enumerate(starts) if start <= int(row))
        cell = _cells(file, group, column.replace("%23", "#").replace("%25", "%"))[int(row) - starts[group]].as_py()
    except (pa.ArrowException, ValueError, IndexError) as error:
        raise OSError(f"{file} has changed: {error}") from error
    cell = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(cell, bytes):
        raise OSError(f"row {row} of {file} has no image")
    if sha256(cell) != digest:
        raise OSError(f"{file} has changed: its row {row} has another image")
    return cell


@lru_cache(1)
def _cells(file: str, group: int, column: str) -> Any:
    """Return a column of a group of rows; the last one is kept, as its images are mostly read one after the other."""
    return _opened(file)[0].read_row_group(group, columns=[column]).column(0)


@lru_cache(OPEN_FILES)
def _opened(file: str) -> tuple[Any, list[int]]:
    """Return a file, and the number of the first row of each of its groups."""
    from pyarrow.parquet import ParquetFile

    table = ParquetFile(_bytes_of(file))
    starts = [0]
    for number in range(table.metadata.num_row_groups):
        starts.append(starts[-1] + table.metadata.row_group(number).num_rows)
    return table, starts[:-1]


def _bytes_of(file: str) -> Any:
    """Open a file; to fsspec, `::` in the name of one on this machine would chain addresses."""
    if "://" not in file:
        import pyarrow as pa

        return pa.OSFile(file, "rb")
    import fsspec

    system, path = fsspec.core.url_to_fs(file)
    return system.open(path, "rb")
