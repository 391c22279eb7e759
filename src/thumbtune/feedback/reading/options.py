"""What somebody says of a table, checked before anything is read: options, and columns that they name."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.reading.columns import Columns
from thumbtune.feedback.reading.places import check_root
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.reading.rows import header_of, read_rows
from thumbtune.feedback.reading.texts import check_encoding
from thumbtune.feedback.shown import listed, named
from thumbtune.feedback.source import Reading

Rows = Iterable[Record | None]
Sheet = tuple[object, Sequence[str] | None, Rows]  # the name of a file, its header if it has one, and its rows


def check_reading(reading: Reading) -> None:
    """Refuse what cannot be meant.

    Raises:
        UsageError: the number from which likes begin is none, the root no folder, or the encoding unknown.
    """
    if reading.like_at is not None and not math.isfinite(reading.like_at):
        raise UsageError(
            f"likes cannot begin at {reading.like_at}; give a number, as in --like-at 4.", code="like-at-invalid"
        )
    if reading.encoding is not None:
        check_encoding(reading.encoding)
    check_root(reading.root)


def check_columns(source: object, columns: Columns, sheets: Iterable[Sheet]) -> None:
    """Compare what is mapped with what there is: headers where there are any, else rows until all is found.

    `source` is how sentences call all of it together.

    Raises:
        UsageError: a mapped column is in none of the sheets.
        ThumbtuneError: two columns are called the same, and we need one of that name.
    """
    missing, seen = set(columns.mapped.values()), dict[str, None]()
    for file, header, rows in sheets:
        if doubled := columns.doubled_in(header or ()):
            raise ThumbtuneError(
                f"{file} has several columns {named(doubled[0])}; rename all but one.", code="column-repeated"
            )
        lacking, there = columns.missing_in(header, rows)
        missing, seen = missing & lacking, seen | dict.fromkeys(there)
    if missing:
        names = ", ".join(named(name) for name in sorted(missing))
        raise UsageError(f"{source} has no column {names}; its columns are {listed(seen)}.", code="column-missing")


def sheets_of(files: Iterable[Path], encoding: str | None = None) -> Iterator[Sheet]:
    """The tables in some files."""
    for file in files:
        yield file, header_of(file, encoding=encoding), (row for _, row in read_rows(file, encoding=encoding))
