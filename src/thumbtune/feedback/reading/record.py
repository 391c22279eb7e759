"""One row of a table: its cells by the names of their columns."""

from collections.abc import Iterable

Record = dict[str, object]


def record_of(cells: Iterable[tuple[object, object]]) -> Record:
    """Return the cells by lower-case column name, without unnamed columns; of two with one name, the first counts."""
    record: Record = {}
    for name, cell in cells:
        if isinstance(name, str) and (lowered := lowered_name(name)):
            record.setdefault(lowered, cell)
    return record


def lowered_name(name: str) -> str:
    """Return the name of a column in lower case, without white space around it."""
    return name.strip().lower()
