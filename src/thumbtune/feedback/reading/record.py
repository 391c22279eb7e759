"""One row of a table: its cells by the names of their columns."""

from collections.abc import Collection, Iterable

from thumbtune.errors import ThumbtuneError

Record = dict[str, object]
MAX_COLUMNS = 16_384  # of a table: as many as the largest sheet of a spreadsheet program has


def check_width(file: object, columns: int) -> None:
    """Refuse a table of more columns than anybody writes, which would take minutes to read.

    Raises:
        ThumbtuneError: there are too many.
    """
    if columns > MAX_COLUMNS:
        raise ThumbtuneError(
            f"{file} has {columns:,} columns, and the limit is {MAX_COLUMNS:,}; keep those with images, prompts and "
            "labels.",
            code="table-too-wide",
        )


class Counted(Record):
    """A row that stands for several: `times` rows of the table have these cells."""

    def __init__(self, row: Record, times: int) -> None:
        super().__init__(row)
        self.times = times


_BETWEEN_WORDS = dict.fromkeys(map(ord, " _-"))


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


def squeezed(name: str) -> str:
    """Return the name of a column with nothing between its words: imagePath and "Image path" are image_path."""
    return name.strip().lower().translate(_BETWEEN_WORDS)


def is_among(name: str, columns: Collection[str]) -> bool:
    """Return whether a column is one of those that are needed, in lower case, however its words are separated."""
    return lowered_name(name) in columns or squeezed(name) in {squeezed(column) for column in columns}
