"""Read the gallery in InvokeAI's SQLite database, without writing to it, whether InvokeAI runs or not."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.metadata.parameters import MAX_TEXT

SQLITE_MAGIC = b"SQLite format 3\0"
WAL_VERSION = b"\x02\x02"  # bytes 18 and 19 of a database in write-ahead mode
LOCK_TIMEOUT = 5.0  # seconds, as long as InvokeAI itself waits
ROWS_PER_PAGE = 500  # between pages, InvokeAI may write
GALLERY = {"image_name", "starred", "image_category"}
# Columns that some versions lack, with what replaces them there.
OTHERS = {"metadata": "NULL", "user_id": "NULL", "image_subfolder": "''", "is_intermediate": "0", "deleted_at": "NULL"}
CATEGORIES = ("general", "user")  # other categories are masks and control images
BOARDS = """(SELECT group_concat(board_name, char(10)) FROM board_images JOIN boards USING (board_id)
    WHERE board_images.image_name = images.image_name)"""
# Names are compared as bytes, as decoding text that is not UTF-8 changes it.
PAGE = """SELECT CAST(image_name AS BLOB), image_name, starred, image_category, {user_id}, {image_subfolder}, {boards},
    CASE WHEN length(CAST({metadata} AS BLOB)) <= {most} THEN {metadata} END
FROM images
WHERE image_name > CAST(? AS TEXT) AND typeof(image_name) = 'text'
    AND image_category IN {categories} AND NOT ifnull({is_intermediate}, 0) AND {deleted_at} IS NULL
ORDER BY image_name LIMIT {limit}"""


@dataclass(frozen=True, kw_only=True)
class GalleryImage:
    """One image in the gallery."""

    name: str
    starred: bool
    category: str
    user: str | None
    subfolder: str
    boards: tuple[str, ...]
    metadata: str | None


def has_gallery(file: Path) -> bool:
    """Return whether a file is a SQLite database with InvokeAI's gallery.

    Raises:
        OSError, sqlite3.Error: it cannot be read.
    """
    if not _beginning_of(file).startswith(SQLITE_MAGIC):
        return False
    with closing(_opened(file)) as database:
        return _columns(database, "images") >= GALLERY


def gallery(file: Path) -> Iterator[GalleryImage]:
    """Yield the images that InvokeAI shows, in order of name.

    Raises:
        ThumbtuneError: it is no such database, is damaged, or stays locked.
    """
    try:
        with closing(_opened(file)) as database:
            if not _columns(database, "images") >= GALLERY:
                raise ThumbtuneError(
                    f"{file} contains no images of InvokeAI; give its databases/invokeai.db.",
                    code="invokeai-no-gallery",
                )
            query, last = _query(database), b""
            while rows := database.execute(query, (last,)).fetchall():
                yield from map(_image, rows)
                last = rows[-1][0]
    except (
        sqlite3.Error,
        OSError,
        UnicodeDecodeError,
    ) as error:  # Unicode: of its messages
        if _is_busy(error):
            raise ThumbtuneError(f"{file} is in use ({error}); close InvokeAI.", code="invokeai-busy") from error
        raise ThumbtuneError(
            f"{file} could not be read ({error}); start InvokeAI once, so that it repairs the file, and close it.",
            code="invokeai-damaged",
        ) from error


def _image(row: tuple[object, ...]) -> GalleryImage:
    _, name, starred, category, user, subfolder, boards, metadata = row
    return GalleryImage(
        name=str(name),
        starred=starred == 1,
        category=str(category),
        user=None if user is None else str(user),
        subfolder=str(subfolder or ""),
        boards=tuple(str(boards or "").split("\n")),
        metadata=metadata if isinstance(metadata, str) else None,
    )


def _query(database: sqlite3.Connection) -> str:
    """Return the query for one page, with the columns that this version of InvokeAI has."""
    there = _columns(database, "images")
    columns = {name: name if name in there else instead for name, instead in OTHERS.items()}
    has_boards = {"board_id", "board_name"} <= _columns(database, "boards") and _columns(database, "board_images")
    boards = BOARDS if has_boards else "NULL"
    return PAGE.format(**columns, boards=boards, most=MAX_TEXT, categories=CATEGORIES, limit=ROWS_PER_PAGE)


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    """Return the names of a table's columns; none for a view, whose query might never end."""
    query = "SELECT c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.name = ? AND t.type = 'table'"
    return {name for (name,) in database.execute(query, (table,))}


def _opened(file: Path) -> sqlite3.Connection:
    """Open the database for reading only.

    To read a database in write-ahead mode, SQLite would create two files beside it. If there are none, nobody writes,
    and the database is opened as immutable; so it is on a disk without locks, if no change is pending.
    """
    is_ahead = _beginning_of(file)[18:20] == WAL_VERSION
    pending = any(file.with_name(f"{file.name}-{end}").exists() for end in ("wal", "journal"))
    try:
        return _connected(file, "mode=ro&immutable=1" if is_ahead and not pending else "mode=ro")
    except sqlite3.OperationalError as error:
        if pending or _is_busy(error):
            raise
    return _connected(file, "mode=ro&immutable=1")


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def _connected(file: Path, options: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"{file.resolve().as_uri()}?{options}", uri=True, timeout=LOCK_TIMEOUT)
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        database.execute("PRAGMA trusted_schema = OFF")  # so that expressions in the file run no code
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()  # connect() alone does not open the file
    except Exception:
        database.close()
        raise
    return database


def _beginning_of(file: Path) -> bytes:
    with file.open("rb") as start:
        return start.read(100)
