"""Opening the store's database: a SQLite file or a PostgreSQL server; its settings, and its errors as sentences."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, ProgrammingError

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.store.schema import NEWEST, upgrade, version_of
from thumbtune.files import may_write

BUSY_TIMEOUT_SECONDS = 30
WRITES = {"thumbtune_writes": True}
NO_RIGHT = "permission denied"
CHANGED = "was changed while it was read; run it again"

# What the database says -> what is wrong, and what to do.
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
        "no space left",
        "could not be written because its server's disk is full; make room, then run the same command again",
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
    ("unable to open", "could not be opened; check that its folder exists and that you may read it and write there"),
    (
        "disk i/o",
        "could not be read or written because the disk failed; check the disk and the room left on it",
    ),
    ("password", "was refused its password; set PGPASSWORD, or write it into ~/.pgpass"),
    (NO_RIGHT, "may not be used by this user; ask whoever runs the database for the rights"),
    ("does not exist", "is not there; make it with createdb, or check its name and the user's"),
    ("could not translate host", "could not be found; check the name of its server"),
    ("resolve host", "could not be found; check the name of its server"),
    ("connection", "could not be reached; check that its server runs and takes connections from here"),
)


def is_address(where: Path | str) -> bool:
    """Whether this names a database server, and not a folder."""
    return "://" in str(where)


@contextmanager
def in_sentences(name: str) -> Iterator[None]:
    """Turn what the database complains about inside the block into one sentence about it.

    Raises:
        ThumbtuneError: the database failed for a reason outside this program.
    """
    try:
        yield
    except DatabaseError as error:
        said = str(error.orig)
        if isinstance(error, IntegrityError | ProgrammingError) and NO_RIGHT not in said.lower():
            raise  # a mistake in our code: let it be seen
        for fragment, sentence in _SENTENCES:
            if fragment in said.lower():
                raise ThumbtuneError(f"{name} {sentence}.") from error
        raise ThumbtuneError(f"{name} could not be used ({said.strip()}); check the database and the disk.") from error


def name_of(where: Path | str) -> str:
    """How sentences call a database: its file, or its address without a password."""
    if not is_address(where):
        return str(where)
    # without a password rather than with *** for it, so that what a command names can be typed again
    return url_of(where).render_as_string(hide_password=True).replace(":***@", "@", 1)


def url_of(where: Path | str) -> URL:
    """The address of a database, of a SQLite file or as it was given.

    Raises:
        UsageError: it is no address, or of a database that this does not work with.
    """
    if not is_address(where):
        return URL.create("sqlite", database=str(Path(where).absolute()))
    try:
        url = make_url(str(where))
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"{where} is no address; write postgresql://user@host/database.") from error
    if "password" in url.query:
        raise UsageError(
            f"The address of {url.host} holds a password as an option, which would be shown; set PGPASSWORD, or write "
            "it into ~/.pgpass."
        )
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername != "postgresql+psycopg":
        raise UsageError(
            f"{url.drivername} is no database for likes; give a folder, or postgresql://user@host/database."
        )
    return url


def may_only_be_read(file: Path) -> bool:
    """Whether a SQLite file is there, and this user may read it and not write it, or its folder."""
    return file.is_file() and not (may_write(file) and may_write(file.parent))


def has_tables(where: Path | str) -> bool:
    """Whether a database holds a store of likes, of this Thumbtune or an older one.

    Raises:
        ThumbtuneError: it cannot be reached, or is of some other program.
    """
    with _connected(where) as (engine, name), engine.connect() as connection:
        return version_of(connection, name) is not None


def upgrade_database(where: Path | str) -> tuple[str, str]:
    """Bring a store's tables up to date, whoever else uses them; the versions before and after.

    Raises:
        ThumbtuneError: there is no store, or it is of a newer Thumbtune, or may not be written.
    """
    with _connected(where) as (engine, name):
        with engine.connect() as connection:
            before = version_of(connection, name)
        if before is None:
            raise ThumbtuneError(f"{name} holds no store of likes; import some first.")
        upgrade(engine.execution_options(**WRITES), name)
    return before, NEWEST


@contextmanager
def _connected(where: Path | str) -> Iterator[tuple[Engine, str]]:
    name = name_of(where)
    engine = _engine(url_of(where), name)
    try:
        with in_sentences(name):
            yield engine, name
    finally:
        engine.dispose()


def open_database(where: Path | str) -> Engine:
    """Connect to a SQLite file or a server, and make the tables there if it has none.

    An older SQLite file is brought up to date; a server's database, which others use too, only by `thumbtune likes
    upgrade`.

    Raises:
        ThumbtuneError: not a database, not ours, written by a newer or an older
            Thumbtune, or not writable.
    """
    url, name = url_of(where), name_of(where)
    engine = _engine(url, name)
    try:
        with in_sentences(name):
            with engine.begin() as connection:  # reading is enough for all but a new one, and waits for nobody
                version = version_of(connection, name)
            if version is not None and version != NEWEST and is_address(where):
                raise ThumbtuneError(
                    f"{name} has the tables of an older Thumbtune (schema {version}); bring them up to date with "
                    "`thumbtune likes upgrade`."
                )
            bound = version != NEWEST and not is_address(where) and may_only_be_read(Path(where))
            if bound and version is None:
                raise ThumbtuneError(
                    f"{name} holds no likes yet and may only be read here; import some as a user who may write it."
                )
            if bound:
                raise ThumbtuneError(
                    f"{name} is of an older Thumbtune (schema {version}) and may only be read here; copy its folder to "
                    "where you may write, and it is brought up to date when it is opened."
                )
            if version != NEWEST:
                upgrade(engine.execution_options(**WRITES), name)
    except BaseException:
        engine.dispose()
        raise
    return engine


def copy_database(file: Path, to: Path) -> None:
    """Copy a SQLite database, whoever else uses it.

    Raises:
        ThumbtuneError: it cannot be read, or the disk is full.
    """
    reading = _Reading(file)
    try:
        with closing(sqlite3.connect(f"{reading.file.as_uri()}?{urlencode(reading.how)}", uri=True)) as source:
            with closing(sqlite3.connect(to)) as copy:
                source.backup(copy)
    except sqlite3.Error as error:
        if reading.is_outdated():
            raise ThumbtuneError(f"{file} {CHANGED}.") from error
        raise ThumbtuneError(f"{file} could not be copied ({error}); check it, and the room on the disk.") from error


def checkpoint(engine: Engine) -> None:
    """Empty SQLite's write-ahead log into the database; what others still read of it stays until they are done."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            raw = cast(sqlite3.Connection, connection.connection.driver_connection)
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def _engine(url: URL, name: str) -> Engine:
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        engine = _reader_of(file, name) if may_only_be_read(file) else _writer_of(url)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "handle_error", _outlive_ctrl_c)
        return engine
    try:
        return create_engine(url)
    except ModuleNotFoundError as error:
        raise ThumbtuneError(f"{name} needs psycopg; install it with `pip install 'thumbtune[postgres]'`.") from error


def _writer_of(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _configure)
    return engine


class _Reading:
    """How a SQLite file is read, and whether that still holds.

    SQLite would lay two files beside one that is written ahead, even to read it; who may only read it may not. Where
    nobody else has it open, it is read as a file that does not change. Who writes it has a log there, and an index of
    that even while the log is empty.
    """

    def __init__(self, file: Path) -> None:
        self.file = file.absolute()
        self._before = self._seen()
        _, log, index = self._before
        in_use = log is not None and (index is not None or log[0] > 0)
        self.how = {"mode": "ro"}
        if may_only_be_read(file) and not in_use:
            self.how["immutable"] = "1"

    def is_outdated(self) -> bool:
        """Whether it was read as a file that does not change, and somebody changed it or opened it to do so."""
        return "immutable" in self.how and self._seen() != self._before

    def _seen(self) -> list[tuple[int, int] | None]:
        """The size of the file, its log and the index, and when each was last written; None for what is not there."""
        return [_size_and_time(self.file.with_name(self.file.name + end)) for end in ("", "-wal", "-shm")]


def _size_and_time(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _reader_of(file: Path, name: str) -> Engine:
    """For a file that may only be read."""
    reading = _Reading(file)

    def explain(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, sqlite3.Error) and reading.is_outdated():
            raise ThumbtuneError(f"{name} {CHANGED}.") from context.original_exception

    url = URL.create("sqlite", database=reading.file.as_uri(), query=reading.how | {"uri": "true"})
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _leave_begin_to_us)
    event.listen(engine, "handle_error", explain)
    return engine


def _outlive_ctrl_c(context: ExceptionContext) -> None:
    """Ctrl-C breaks no connection to a file; SQLAlchemy would close it, and then complain of its open cursor."""
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False


def _leave_begin_to_us(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN itself, below; the driver must not


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    """Set up each new connection."""
    _leave_begin_to_us(connection, _record)
    for setting in (
        "journal_mode = WAL",
        "foreign_keys = ON",
        "recursive_triggers = ON",
        "synchronous = FULL",
        "secure_delete = ON",
    ):
        # secure_delete: what is erased is overwritten
        # recursive_triggers: without it, INSERT OR REPLACE would delete a vote without asking the trigger
        connection.execute(f"PRAGMA {setting}").close()


def _begin(connection: Connection) -> None:
    """Writers take the lock at once: two that first read and then wait for each other would deadlock."""
    writes = connection.get_execution_options().get("thumbtune_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
