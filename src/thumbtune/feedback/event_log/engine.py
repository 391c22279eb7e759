"""The engine that reads event logs: DuckDB, in bounded memory, with a temporary folder for what does not fit.

It reads files alone: it installs and loads nothing, and opens no address that was not given to it.
"""

from __future__ import annotations  # duckdb takes a third of a second to import, so only `connected` does so

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from thumbtune.errors import ThumbtuneError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = 1_500_000_000  # bytes that the engine may use before it writes to the disk
SHARE_OF_MEMORY = 0.25  # at most, on a small machine
MAX_THREADS = 4  # each holds blocks of its own
SETTINGS = ("autoinstall_known_extensions=false", "autoload_known_extensions=false", "enable_progress_bar=false")
ROWS_AT_ONCE = 20_000


def connected(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection to a new database in a folder, which also holds what does not fit into memory.

    Raises:
        ThumbtuneError: duckdb is not installed.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise ThumbtuneError(
            "An event log is read with duckdb; install it with `pip install 'thumbtune[events]'`, or import the log "
            "into a store with `thumbtune import`.",
            code="event-log-no-engine",
        ) from error
    memory = min(MEMORY, int(psutil.virtual_memory().total * SHARE_OF_MEMORY))
    connection = duckdb.connect(str(folder / "events.duckdb"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for setting in SETTINGS:
        connection.execute(f"SET {setting}")
    connection.execute(f"SET memory_limit='{memory // 1_000_000}MB'")
    connection.execute(f"SET threads={min(MAX_THREADS, cores)}")
    connection.execute(f"SET temp_directory={text(str(folder / 'spill'))}")
    connection.execute("SET preserve_insertion_order=false")
    connection.execute("SET TimeZone='UTC'")
    return connection


@contextmanager
def in_sentences(name: str) -> Iterator[None]:
    """Turn the engine's errors inside the block into one sentence about the log called `name`.

    Raises:
        ThumbtuneError: a file cannot be read, or there is no room for temporary files.
    """
    import duckdb

    try:
        yield
    except (duckdb.ParserException, duckdb.CatalogException):  # a fault of this package
        raise
    except duckdb.Error as error:
        why = str(error).splitlines()[0].partition("Error: ")[2] or str(error).splitlines()[0]
        if isinstance(error, duckdb.OutOfMemoryException) or "space left" in str(error):
            raise ThumbtuneError(
                f"{name} needs more room for temporary files ({why}); free space, or set TMPDIR to a folder on a "
                "larger disk.",
                code="event-log-no-room",
            ) from error
        raise ThumbtuneError(
            f"{name} could not be read ({why}); check that all its files are whole Parquet files with the same "
            "columns.",
            code="event-log-unreadable",
        ) from error


def batches(connection: duckdb.DuckDBPyConnection, query: str, rows: int = ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query as Arrow batches, on a cursor of its own."""
    yield from connection.cursor().sql(query).to_arrow_reader(rows)


def insert(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[tuple[str, str]], rows: Any) -> None:
    """Make a table, and fill it with rows: tuples in the order of `columns`, (name, type of the engine)."""
    import pyarrow as pa

    names = [name for name, _ in columns]
    connection.execute(f"CREATE OR REPLACE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns)})")
    part: list[tuple[Any, ...]] = []

    def flush() -> None:
        if not part:
            return
        by_column = zip(zip(*part, strict=True), columns, strict=True)
        cells = [pa.array(list(column), ARROW[kind]()) for column, (_, kind) in by_column]
        connection.register("part", pa.Table.from_arrays(cells, names=names))
        connection.execute(f"INSERT INTO {table} SELECT * FROM part")
        connection.unregister("part")
        part.clear()

    for row in rows:
        part.append(row)
        if len(part) >= ROWS_AT_ONCE:
            flush()
    flush()


def _arrow(name: str) -> Any:
    import pyarrow as pa

    return getattr(pa, name)()


ARROW = {
    kind: (lambda name=name: _arrow(name))
    for kind, name in {
        "BIGINT": "int64", "INTEGER": "int32", "TINYINT": "int8", "BOOLEAN": "bool_", "DOUBLE": "float64",
        "VARCHAR": "string",
    }.items()
}  # fmt: skip


def name(column: str) -> str:
    """Return the name of a column in quotes."""
    return '"' + column.replace('"', '""') + '"'


def path(file: str) -> str:
    """Return the name of a file in quotes, so that the engine takes no character of it for a pattern."""
    return text(re.sub(r"([*?\[])", r"[\1]", file))


def text(value: str) -> str:
    """Return a text in quotes."""
    return "'" + value.replace("'", "''") + "'"
