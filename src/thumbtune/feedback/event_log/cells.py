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
from thumbtune.feedback.reading.record import Record, is_among

if TYPE_CHECKING:
    import duckdb

FILE, PLACE = "_thumbtune_file", "_thumbtune_row"  # columns that the engine adds: the file of a row, and its number
HELD = "sha256:"  # begins a cell in the place of an image's bytes: their hash and their length
Read = Callable[[Record], tuple[Any, ...]]


class LogCells:
    """The distinct cells of a log's columns.

    header: column -> its type in the engine
    classes: the names of numbered classes
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, header: dict[str, str], classes: Classes) -> None:
        self.connection, self.header, self.classes = connection, header, classes
        self.held = [column for column, kind in header.items() if held(column, kind) is not None]

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
            yield from map(with_held_bytes, rows_in(batch, self.classes, batch.num_rows))

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
                yield code, *read(with_held_bytes(row))


def joined(field: str, columns: Sequence[str]) -> str:
    """Return the join that brings what a field's cells mean to the rows of the log."""
    on = " AND ".join(f"e.{name(column)} IS NOT DISTINCT FROM {field}.{name(column)}" for column in columns)
    return f"JOIN {field} ON {on}"


def held(column: str, kind: str) -> str | None:
    """Return the expression that puts a hash in the place of an image's bytes; None for a column of other cells."""
    cell = name(column)
    if kind == "BLOB":
        return f"{_hashed(cell)} AS {cell}"
    if kind.startswith("STRUCT(") and " BLOB" in kind:
        fields = [part.strip().rpartition(" ") for part in kind.removeprefix("STRUCT(").removesuffix(")").split(",")]
        inner = {field.strip('"'): of for field, _, of in fields}
        packed = [
            f"{name(field)} := {_hashed(f'{cell}.{name(field)}') if of == 'BLOB' else f'{cell}.{name(field)}'}"
            for field, of in inner.items()
        ]
        return f"CASE WHEN {cell} IS NOT NULL THEN struct_pack({', '.join(packed)}) END AS {cell}"
    return None


def _hashed(cell: str) -> str:
    return f"CASE WHEN octet_length({cell}) > 0 THEN {text(HELD)} || sha256({cell}) || ':' || octet_length({cell}) END"


def with_held_bytes(row: Record) -> Record:
    """Return a row whose marks of held bytes are bytes again, so that they are read as an image is."""
    for key, cell in row.items():
        if isinstance(cell, str) and cell.startswith(HELD):
            row[key] = cell.encode()
        elif isinstance(cell, dict):
            row[key] = {
                inner: part.encode() if isinstance(part, str) and part.startswith(HELD) else part
                for inner, part in cell.items()
            }
    return row
