"""One row of a table: its cells by the names of their columns."""

from collections.abc import Iterable

Record = dict[str, object]


def record_of(cells: Iterable[tuple[object, object]]) -> Record:
    """The cells by their column's name in lower case. Columns without a name are dropped; of two, the first counts."""
    record: Record = {}
    for name, cell in cells:
        if isinstance(name, str) and (lowered := lowered_name(name)):
            record.setdefault(lowered, cell)
    return record


def lowered_name(name: str) -> str:
    """The name of a column as it is compared: in lower case, without white space around it."""
    return name.strip().lower()
