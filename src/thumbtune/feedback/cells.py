"""Reading one cell of somebody's table: is it yes or no, a number, a moment, a prompt?"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

Row = Mapping[str, object]

YES = frozenset("true t yes y 1 +1 like liked likes good pos positive up 👍".split())
NO = frozenset("false f no n 0 -1 dislike disliked dislikes bad neg negative down 👎".split())
PROMPT_COLUMNS = ("prompt", "text", "caption")
LABEL_COLUMNS = ("label", "liked", "like")
IMAGE_COLUMNS = ("file_name", "image")
MILLISECONDS_FROM = 1e11  # seconds since 1970 stay below this until the year 5138


def first(row: Row, columns: tuple[str, ...]) -> object:
    """The first of these columns that the row fills."""
    return next((row[column] for column in columns if not is_blank(row.get(column))), None)


def is_blank(cell: object) -> bool:
    """Nothing, white space, or the not-a-number that spreadsheet programs write for nothing."""
    return (
        cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and math.isnan(cell))
    )


def prompt_in(row: Row) -> str | None:
    """The prompt, without white space around it, or None."""
    cell = first(row, PROMPT_COLUMNS)
    return cell.strip() if isinstance(cell, str) else None


def label_in(row: Row) -> bool | None:
    """Liked or not; None when the cell is empty or says neither."""
    cell = first(row, LABEL_COLUMNS)
    if isinstance(cell, (bool, str)):
        word = str(cell).strip().lower()
        word = {"1.0": "1", "0.0": "0", "-1.0": "-1"}.get(word, word)
        return True if word in YES else False if word in NO else None
    if isinstance(cell, (int, float)):
        return {1.0: True, 0.0: False, -1.0: False}.get(cell)
    return None


def text_in(row: Row, column: str) -> str | None:
    """Any cell as text, or None if it is empty."""
    cell = row.get(column)
    return None if is_blank(cell) else str(cell).strip()


def number_in(row: Row, column: str) -> float | None:
    """A finite number from 0 up, or None if the cell is empty.

    Raises:
        ValueError: it is something else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{column} {cell!r} is no number from 0 up; mend it or leave it empty")
    return number


def whole_number_in(row: Row, column: str) -> int | None:
    """A whole number, or None if the cell is empty.

    Raises:
        ValueError: it is something else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    text = str(cell).strip()
    try:
        return int(text.removesuffix(".0"))  # columns with gaps come out of spreadsheet programs as 7.0
    except ValueError as error:
        raise ValueError(f"{column} {cell!r} is no whole number; mend it or leave it empty") from error


def moment_in(row: Row, column: str) -> datetime | None:
    """A moment: a datetime, ISO 8601 text, or seconds or milliseconds since 1970; None if the cell is empty.

    Raises:
        ValueError: it is something else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    try:
        if isinstance(cell, datetime):
            return _in_utc(cell)
        if isinstance(cell, (int, float)):
            return datetime.fromtimestamp(cell / 1000 if cell > MILLISECONDS_FROM else cell, UTC)
        return _in_utc(datetime.fromisoformat(str(cell).strip()))
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{column} {cell!r} is no moment; write it like 2025-06-30T12:00:00Z") from error


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
