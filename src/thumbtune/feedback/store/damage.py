"""Find the damaged cell of a store's SQLite file: SQLite keeps any value in any column, and any bytes as text."""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.sql.elements import KeyedColumnElement

from thumbtune.feedback.quoting import shown
from thumbtune.feedback.store.tables import DamagedCell, StoredImage, UTCDateTime, Vote

if TYPE_CHECKING:
    from thumbtune.feedback.store.intake import KnownImage
    from thumbtune.feedback.store.labels import AnyImage, Label

NUMBERS = (float, int)
SECONDS = 10.0  # of searching; a store of a million votes takes about five
ROWS_BETWEEN_LOOKS = 1000  # at the clock


class _Text(bytes):
    """A text as it lies in the file, told from a blob."""


TYPES: Mapping[type, tuple[type, ...]] = {str: (_Text,), int: (int,), float: (int, float)}


def check_image_cells(image: "AnyImage | KnownImage") -> None:
    """Refuse an image whose cells are not what their columns hold.

    Raises:
        DamagedCell: a cell is of another type, or NULL where a value belongs.
    """
    if type(image.prompt) is not str or type(image.file) is not str or type(image.sha256) is not str:
        raise DamagedCell("an image has no prompt, file or hash that is text")
    if "\0" in image.prompt:
        raise DamagedCell("a prompt contains a zero byte")
    if image.seed is not None and type(image.seed) is not int:
        raise DamagedCell("a seed is not a number")


def check_label(label: "Label") -> None:
    """Refuse a vote whose cells are not what their columns hold. It is quick, as it runs for every label.

    Raises:
        DamagedCell: a cell is of another type, or NULL where a value belongs.
    """
    if type(label.rater) is not str or type(label.vote_id) is not str or label.created_at is None:
        raise DamagedCell("a vote has no rater, id or time")
    if not isinstance(label.weight, NUMBERS) or not (label.grade is None or isinstance(label.grade, NUMBERS)):
        raise DamagedCell("a weight or grade is not a number")
    if not (label.reason is None or type(label.reason) is str) or not (label.pair is None or type(label.pair) is str):
        raise DamagedCell("a reason or pair is not text")


def first_damage(file: Path) -> str | None:
    """Return what is wrong with the first damaged cell; None if none is found in time, or the file cannot be read."""
    until = time.monotonic() + SECONDS
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.text_factory = _Text
            return _damage_in(database, StoredImage, until) or _damage_in(database, Vote, until)
    except (sqlite3.Error, TimeoutError):
        return None


def _damage_in(database: sqlite3.Connection, table: type[StoredImage | Vote], until: float) -> str | None:
    columns = list(table.__table__.columns)
    names = ", ".join(f'"{column.name}"' for column in columns)
    rows = database.execute(f"SELECT rowid, {names} FROM {table.__tablename__}")
    for number, (row, *cells) in enumerate(rows):
        if number % ROWS_BETWEEN_LOOKS == 0 and time.monotonic() > until:
            raise TimeoutError
        for column, cell in zip(columns, cells, strict=True):
            if (problem := _problem_of(column, cell)) is not None:
                return f"{column.name} of row {row} in {table.__tablename__} is {problem}"
    return None


def _problem_of(column: KeyedColumnElement[Any], cell: object) -> str | None:
    """Return what is wrong with a cell, or None."""
    if cell is None:
        return None if column.nullable else "empty"
    is_time = isinstance(column.type, UTCDateTime)
    if not isinstance(cell, TYPES[str if is_time else column.type.python_type]):
        return f"{shown(cell.decode('utf-8', 'replace') if isinstance(cell, _Text) else cell)}, of another type"
    return _problem_of_text(cell, is_time) if isinstance(cell, _Text) else None


def _problem_of_text(cell: bytes, is_time: bool) -> str | None:
    try:
        text = cell.decode()
    except UnicodeError:
        return "not UTF-8 text"
    try:
        if is_time:
            datetime.fromisoformat(text)
    except ValueError:
        return f"{shown(text)}, which is no time"
    return "text with a zero byte" if "\0" in text else None
