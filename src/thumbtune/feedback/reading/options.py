"""Check the options for a table, and the columns that they name, before rows are read."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.quoting import listed, named
from thumbtune.feedback.reading.columns import Columns
from thumbtune.feedback.reading.image_roots import check_root
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.reading.rows import header_of, read_rows
from thumbtune.feedback.reading.texts import check_encoding
from thumbtune.feedback.source import Reading

Rows = Iterable[Record | None]
Sheet = tuple[object, Sequence[str] | None, Rows]  # the name of a file, its header or None, and its rows


def check_reading(reading: Reading) -> None:
    """Refuse options without meaning.

    Raises:
        UsageError: `like_at` is NaN or infinite, the root is no folder, or the encoding is unknown.
    """
    if reading.like_at is not None and not math.isfinite(reading.like_at):
        raise UsageError(
            f"--like-at {reading.like_at} is not a finite number; give a number, as in --like-at 4.",
            code="like-at-invalid",
        )
    if reading.encoding is not None:
        check_encoding(reading.encoding)
    check_root(reading.root)


def check_columns(source: object, columns: Columns, sheets: Iterable[Sheet]) -> None:
    """Check that the mapped columns exist, in headers or else in rows, which are read until all are found.

    `source` names all sheets together in errors.

    Raises:
        UsageError: no sheet has a mapped column.
        ThumbtuneError: two columns share a name that we read.
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
    """Yield the sheets of some files."""
    for file in files:
        yield file, header_of(file, encoding=encoding), (row for _, row in read_rows(file, encoding=encoding))
