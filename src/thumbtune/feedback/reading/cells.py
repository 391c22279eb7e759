"""Read one cell of a table: a label, a number, a moment, a prompt."""

import math
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from thumbtune.feedback.prompts import OWN_SYNTAXES, Syntax
from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading.labels import Scale, number_of
from thumbtune.feedback.reading.moments import moment_of

Cells = Mapping[str, object]

PROMPT_COLUMNS = ("prompt", "text", "caption")
LABEL_COLUMNS = ("label", "liked", "like")
IMAGE_COLUMNS = ("file_name", "image")
MIN_SEED, MAX_SEED = -(2**63), 2**63 - 1  # that databases hold; some programs draw seeds of up to 2**64 - 1
RANDOM_SEED = -1  # as programs write "another seed each time"
EXACT_FLOAT = 2**53  # a larger float is not the whole number that it was made from
# Spreadsheets write 422847914351919 as 4.22848E+14: six digits are left of ten or more.
LONG_NUMBER, LEFT_DIGITS = 10, 6

_WHOLE = re.compile(r"-?\d{1,20}(\.0+)?", re.ASCII)


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
    cell = row.get(PROMPT_COLUMNS[0])
    if type(cell) is str and (words := cell.strip()):
        return words
    cell = first(row, PROMPT_COLUMNS)
    if isinstance(cell, bytes):  # some programs write text as bytes into Parquet files
        cell = cell.decode("utf-8", "ignore")
    return cell.strip() or None if isinstance(cell, str) else None


def syntax_in(row: Cells, column: str) -> Syntax | None:
    """Return how a prompt that `thumbtune generate` listed was read, or None for any other cell."""
    cell = row.get(column)
    return None if cell is None else next((syntax for syntax in OWN_SYNTAXES if cell == syntax), None)


def label_in(row: Cells, like_at: float | None = None) -> bool | None:
    """Return True for liked, False for disliked, and None for a blank cell or one that means neither."""
    return Scale(like_at).liked(first(row, LABEL_COLUMNS))


def text_in(row: Cells, column: str) -> str | None:
    """Return a cell as text, or None if it is blank.

    Raises:
        ValueError: it holds a list or an object.
    """
    cell = row.get(column)
    if type(cell) is str:
        return cell.strip() or None
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


def moment_in(row: Cells, column: str, day_first: bool | None = None) -> datetime | None:
    """Return a moment in any form that `moments` reads, or None if the cell is blank.

    Raises:
        ValueError: the cell holds anything else.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    try:
        return moment_of(cell, day_first)
    except (ValueError, ArithmeticError, OSError, RecursionError) as error:
        raise ValueError(f"{column} {shown(cell)} is no moment; write it like 2025-06-30T12:00:00Z") from error


def seed_in(row: Cells, column: str = "seed") -> int | None:
    """Return the seed of an image, or None if the cell is blank.

    Raises:
        ValueError: it is no seed, does not fit into a database, or has lost digits in a spreadsheet.
    """
    cell = row.get(column)
    if is_blank(cell):
        return None
    if isinstance(cell, str) and _WHOLE.fullmatch(cell.strip()):
        number = int(cell.strip().partition(".")[0])
    elif isinstance(cell, float | Decimal) and abs(cell) <= EXACT_FLOAT and cell == int(cell) and not _rounded(cell):
        number = int(cell)
    elif isinstance(cell, int) and not isinstance(cell, bool):
        number = cell
    else:
        raise ValueError(f"{column} {shown(cell)} is not a seed")
    if not MIN_SEED <= number <= MAX_SEED or number == RANDOM_SEED:
        raise ValueError(f"{column} {shown(cell)} is not a seed that a database holds")
    return number


def _rounded(number: float | Decimal) -> bool:
    """Return whether a long whole number ends in zeros only, as those do that a spreadsheet rounded."""
    digits = len(str(int(number)))
    return isinstance(number, float) and digits >= LONG_NUMBER and int(number) % 10 ** (digits - LEFT_DIGITS) == 0
