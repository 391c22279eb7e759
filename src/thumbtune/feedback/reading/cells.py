"""Read one cell of a table: a label, a number, a moment, a prompt."""

import math
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading.labels import Scale, number_of

Cells = Mapping[str, object]

PROMPT_COLUMNS = ("prompt", "text", "caption")
LABEL_COLUMNS = ("label", "liked", "like")
IMAGE_COLUMNS = ("file_name", "image")
# Seconds since 1970 stay below 1e11 until the year 5138; larger numbers are milli-, micro- or nanoseconds.
PARTS_OF_A_SECOND = ((1e17, 10**9), (1e14, 10**6), (1e11, 10**3))
MAX_NUMBER = 10**40  # no table means a larger one

_SECONDS = re.compile(r"\d{9,19}(\.\d*)?", re.ASCII)


def first(row: Cells, columns: tuple[str, ...]) -> object:
    """Return the first cell in these columns that is not blank, or None."""
    return next((row[column] for column in columns if not is_blank(row.get(column))), None)


def is_blank(cell: object) -> bool:
    """Return whether a cell is None, white space or NaN, which spreadsheet programs write for empty cells."""
    if isinstance(cell, str):
        return not cell or cell.isspace()
    if isinstance(cell, Decimal):
        return cell.is_nan()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def prompt_in(row: Cells) -> str | None:
    """Return the prompt without white space around it, or None."""
    cell = first(row, PROMPT_COLUMNS)
    if isinstance(cell, bytes):  # some programs write text as bytes into Parquet files
        cell = cell.decode("utf-8", "ignore")
    return cell.strip() or None if isinstance(cell, str) else None


def label_in(row: Cells, like_at: float | None = None) -> bool | None:
    """Return True for liked, False for disliked, and None for a blank cell or one that means neither."""
    return Scale(like_at).liked(first(row, LABEL_COLUMNS))


def text_in(row: Cells, column: str) -> str | None:
    """Return a cell as text, or None if it is blank.

    Raises:
        ValueError: it holds a list or an object.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, float) and cell.is_integer():
        return f"{cell:.0f}"  # pandas turns columns of whole numbers with gaps into 7.0
    if isinstance(cell, Mapping | list | tuple):
        raise ValueError(f"{column} {shown(cell)} is no text; name the part that is, as in --map {column}=column.part")
    try:
        return str(cell).strip() or None
    except ValueError as error:  # thousands of digits
        raise ValueError(f"{column} is too long; shorten it or leave it empty") from error


def number_in(row: Cells, column: str) -> float | None:
    """Return a finite number of 0 or more, or None if the cell is blank.

    Raises:
        ValueError: the cell holds anything else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    number = number_of(cell)
    if number is None or number < 0:
        raise ValueError(f"{column} {shown(cell)} is not a number of at least 0; correct it or leave it empty")
    return number


def grade_in(row: Cells, column: str) -> float | None:
    """Return a number from 0 to 1, or None if the cell is blank.

    Raises:
        ValueError: the cell holds anything else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    number = number_of(cell)
    if number is None or not 0 <= number <= 1:
        raise ValueError(f"{column} {shown(cell)} does not lie between 0 and 1; rescale it or leave it empty")
    return number


def whole_number_in(row: Cells, column: str) -> int | None:
    """Return a whole number, or None if the cell is blank.

    Raises:
        ValueError: the cell holds anything else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    try:
        number = _whole(cell) if isinstance(cell, float | Decimal) else int(str(cell).strip().removesuffix(".0"))
        if abs(number) < MAX_NUMBER:
            return number
        raise ValueError("it is larger than any database holds")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{column} {shown(cell)} is not a whole number; correct it or leave it empty") from error


def _whole(number: float | Decimal) -> int:
    if abs(number) < MAX_NUMBER and number == int(number):
        return int(number)
    raise ValueError("there is a fraction")


def uuid_in(row: Cells, column: str) -> str | None:
    """Return a UUID in its canonical spelling, or None if the cell is blank.

    Raises:
        ValueError: the cell holds anything else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    try:
        return str(cell if isinstance(cell, uuid.UUID) else uuid.UUID(str(cell).strip()))
    except ValueError as error:
        raise ValueError(f"{column} {shown(cell)} is not a UUID; correct it or leave it empty") from error


def moment_in(row: Cells, column: str) -> datetime | None:
    """Return a moment, or None if the cell is blank.

    It may be a datetime, ISO 8601 text, or (milli-, micro-, nano-)seconds since 1970.

    Raises:
        ValueError: the cell holds anything else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    try:
        if isinstance(cell, Decimal) or (isinstance(cell, str) and _SECONDS.fullmatch(cell.strip())):
            cell = float(cell)
        if isinstance(cell, datetime):
            return _in_utc(cell)
        if isinstance(cell, int | float):
            return _since_1970(cell)
        return _in_utc(datetime.fromisoformat(str(cell).strip()))
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{column} {shown(cell)} is no moment; write it like 2025-06-30T12:00:00Z") from error


def _since_1970(number: float) -> datetime:
    parts = next((parts for above, parts in PARTS_OF_A_SECOND if number > above), 1)
    return datetime.fromtimestamp(number / parts, UTC)


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
