"""Read the cells of a log as an import does: each distinct cell once, by the same functions.

A hundred million rows have few distinct labels, and some million distinct prompts and images. So the engine lists the
distinct cells of each field, Python reads those, and a join brings what they mean back to the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from thumbtune.feedback.event_log.engine import batches, insert, name, text
from thumbtune.feedback.reading.arrow import Classes, rows_in
from thumbtune.feedback.reading.columns import Columns, beginnings
from thumbtune.feedback.reading.record import Counted, Record, is_among

if TYPE_CHECKING:
    import duckdb
    from duckdb.sqltypes import DuckDBPyType

FILE, PLACE = "_thumbtune_file", "_thumbtune_row"  # columns that the engine adds: the file of a row, and its number
TIMES = "_thumbtune_times"
HELD = "sha256:"  # begins the bytes in the place of an image's bytes: their hash and their length
BYTES = "bytes"  # the field of an image's bytes in a cell of `datasets`
Read = Callable[[Record], tuple[Any, ...]]


class LogCells:
    """The distinct cells of a log's columns.

    header: column -> the name of its type in the engine
    held: the columns whose images are their hashes in the view `events`; at first none
    classes: the names of numbered classes
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, kinds: dict[str, DuckDBPyType], classes: Classes) -> None:
        self.connection, self.kinds, self.classes = connection, kinds, classes
        self.header = {column: str(kind) for column, kind in kinds.items()}
        self.hold([])

    def hold(self, columns: Sequence[str]) -> None:
        """Make the view `events`, with hashes in the place of images in these columns; other bytes may be text."""
        replaced = {each: cell for each in columns if (cell := held(each, self.kinds[each])) is not None}
        instead = f"REPLACE ({', '.join(replaced.values())})" if replaced else ""
        self.connection.execute(f"CREATE OR REPLACE VIEW events AS SELECT * {instead} FROM raw_events")
        self.held = list(replaced)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """Yield the distinct rows of some columns, by their names in lower case; without columns, a few whole rows."""
        wanted = [column for column in self.header if columns is None or is_among(column, columns)]
        cells = ", ".join(map(name, wanted))
        if not wanted:
            yield {}
            return
        query = (
            f"SELECT DISTINCT {cells} FROM events" if columns is not None else f"SELECT {cells} FROM events LIMIT 64"
        )
        for batch in batches(self.connection, query):
            yield from rows_in(batch, self.classes, batch.num_rows)

    def counted_rows(self, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the distinct rows of some columns, as `rows`, each with the number of rows that are like it."""
        wanted = [column for column in self.header if is_among(column, columns)]
        cells = ", ".join(map(name, wanted))
        if not wanted:
            yield {}
            return
        query = f"SELECT {cells}, count(*) AS {TIMES} FROM events GROUP BY {cells}"
        for batch in batches(self.connection, query):
            numbers = batch.column(TIMES).to_pylist()
            rows = rows_in(batch.drop_columns([TIMES]), self.classes, batch.num_rows)
            for row, number in zip(rows, numbers, strict=True):
                yield Counted(row, number)

    def columns_of(self, columns: Columns, *keys: str) -> list[str]:
        """Return the columns of the log that may hold these fields."""
        names = [part for key in keys for each in columns.names[key] for part in beginnings(each)]
        return [column for column in self.header if is_among(column, names)]

    def read(self, field: str, columns: Sequence[str], kinds: Sequence[tuple[str, str]], read: Read) -> None:
        """Make the table of a field: its distinct cells, and what each means, `kinds` by name and type.

        The table has a column of the same name for each of `columns`, and one row of no cells if there are none.
        """
        raw = f"raw_{field}"
        if columns:
            cells = ", ".join(map(name, columns))
            self.connection.execute(
                f"CREATE OR REPLACE TABLE {raw} AS SELECT row_number() OVER () AS our_code, * "
                f"FROM (SELECT DISTINCT {cells} FROM events)"
            )
        else:
            self.connection.execute(f"CREATE OR REPLACE TABLE {raw} AS SELECT 1::BIGINT AS our_code")
        insert(self.connection, "meaning", [("our_code", "BIGINT"), *kinds], self._meanings(raw, read))
        self.connection.execute(f"CREATE OR REPLACE TABLE {field} AS SELECT * FROM {raw} JOIN meaning USING (our_code)")
        self.connection.execute(f"DROP TABLE {raw}; DROP TABLE meaning")

    def _meanings(self, table: str, read: Read) -> Iterator[tuple[Any, ...]]:
        for batch in batches(self.connection, f"SELECT * FROM {table}"):
            codes = batch.column("our_code").to_pylist()
            cells = (
                rows_in(batch.drop_columns(["our_code"]), self.classes, batch.num_rows)
                if batch.num_columns > 1
                else [{}]
            )
            for code, row in zip(codes, cells, strict=True):
                yield code, *read(row)


def joined(field: str, columns: Sequence[str]) -> str:
    """Return the join that brings what a field's cells mean to the rows of the log."""
    on = " AND ".join(f"e.{name(column)} IS NOT DISTINCT FROM {field}.{name(column)}" for column in columns)
    return f"JOIN {field} ON {on}"


def held(column: str, kind: DuckDBPyType) -> str | None:
    """Return the expression that puts a hash in the place of an image's bytes; None for a column of other cells.

    The bytes are the cell, or its field `bytes`, as `datasets` writes them.
    """
    cell = name(column)
    if kind.id == "blob":
        return f"{_hashed(cell)} AS {cell}"
    fields: dict[str, Any] = dict(kind.children) if kind.id == "struct" else {}
    if BYTES not in fields or fields[BYTES].id != "blob":
        return None
    inner = {field: f"{cell}.{name(field)}" for field in fields}
    packed = [f"{name(field)} := {_hashed(part) if field == BYTES else part}" for field, part in inner.items()]
    return f"CASE WHEN {cell} IS NOT NULL THEN struct_pack({', '.join(packed)}) END AS {cell}"


def _hashed(cell: str) -> str:
    mark = f"{text(HELD)} || sha256({cell}) || ':' || octet_length({cell})"
    return f"CASE WHEN octet_length({cell}) > 0 THEN encode({mark}) END"
