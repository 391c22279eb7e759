"""Opening the store's SQLite file: the connection, its settings, the schema, and errors as sentences."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.tables import SCHEMA_VERSION, Table

BUSY_TIMEOUT_SECONDS = 30
WRITES = {"thumbtune_writes": True}

# What SQLite says -> what is wrong, and what to do.
_SENTENCES = (
    (
        "not a database",
        "is not a Thumbtune store (it is no SQLite file); move it away or choose another folder",
    ),
    ("malformed", "is damaged; restore it from a copy or choose another folder"),
    (
        "disk is full",
        "could not be written because the disk is full; make room, then run the same command again",
    ),
    (
        "readonly",
        "could not be written because it is read-only; change its permissions or choose another folder",
    ),
    (
        "read-only",
        "could not be written because it is read-only; change its permissions or choose another folder",
    ),
    (
        "locked",
        "is being written by another program; wait for that to finish, then run the same command again",
    ),
    ("unable to open", "could not be opened; check that its folder exists and that you may write there"),
    (
        "disk i/o",
        "could not be read or written because the disk failed; check the disk and the room left on it",
    ),
)


@contextmanager
def in_sentences(file: Path) -> Iterator[None]:
    """Turn what the database complains about inside the block into one sentence about `file`.

    Raises:
        ThumbtuneError: the database failed for a reason outside this program.
    """
    try:
        yield
    except (IntegrityError, ProgrammingError):  # a mistake in our code: let it be seen
        raise
    except DatabaseError as error:
        said = str(error.orig)
        for fragment, sentence in _SENTENCES:
            if fragment in said.lower():
                raise ThumbtuneError(f"{file} {sentence}.") from error
        raise ThumbtuneError(f"{file} could not be used ({said}); check the file and the disk.") from error


def open_database(file: Path) -> Engine:
    """Connect to `file`, creating the tables in it if it is new.

    Raises:
        ThumbtuneError: not a database, not ours, written by a newer Thumbtune, or not writable.
    """
    url = URL.create("sqlite", database=str(file.absolute()))
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        with in_sentences(file):
            with engine.begin() as connection:  # reading is enough for all but a new file, and waits for nobody
                ready = _is_ready(connection, file)
            if not ready:
                with engine.execution_options(**WRITES).begin() as connection:
                    _prepare(connection, file)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    """Set up each new connection."""
    connection.isolation_level = None  # SQLAlchemy says BEGIN itself, below; the driver must not
    for setting in (
        "journal_mode = WAL",
        "foreign_keys = ON",
        "recursive_triggers = ON",
        "synchronous = FULL",
    ):
        # recursive_triggers: without it, INSERT OR REPLACE would delete a vote without asking the trigger
        connection.execute(f"PRAGMA {setting}").close()


def _begin(connection: Connection) -> None:
    """Writers take the lock at once: two that first read and then wait for each other would deadlock."""
    writes = connection.get_execution_options().get("thumbtune_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _is_ready(connection: Connection, file: Path) -> bool:
    """Is our schema in the file?

    Raises:
        ThumbtuneError: a newer one is.
    """
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > SCHEMA_VERSION:
        raise ThumbtuneError(
            f"{file} was written by a newer Thumbtune (schema {version}; this one knows {SCHEMA_VERSION}); "
            "upgrade thumbtune or choose another folder."
        )
    return version == SCHEMA_VERSION


def _prepare(connection: Connection, file: Path) -> None:
    """Create the schema in an empty file.

    Raises:
        ThumbtuneError: some other program's tables are in it.
    """
    if _is_ready(connection, file):  # somebody else was faster
        return
    if inspect(connection).get_table_names():
        raise ThumbtuneError(f"{file} is a database of some other program; move it away or choose another folder.")
    Table.metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
