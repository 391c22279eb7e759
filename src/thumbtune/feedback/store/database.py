"""Open the store's database, a SQLite file or a PostgreSQL server; configure it, and explain its errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, exists, make_url, select
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, ProgrammingError

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.store.damage import first_damage
from thumbtune.feedback.store.schema import NEWEST, upgrade, version_of
from thumbtune.feedback.store.tables import DamagedCell, StoredImage, Vote
from thumbtune.files import may_write
from thumbtune.passwords import without_passwords

BUSY_TIMEOUT_SECONDS = 30
READER_KILOBYTES = 2_000  # of SQLite's cache, as it has them itself: a studio has many connections that read
WRITER_KILOBYTES = 64_000  # while one writes: an import puts keys everywhere into its indexes
WRITES = {"thumbtune_writes": True}
NOT_UTF_8 = "could not decode to utf-8"
NO_RIGHT = "permission denied"
CHANGED_MEANWHILE = "was changed while it was read; run the command again"

# part of the database's message -> the error's code, the problem and what to do
_COMPLAINTS = (
    (
        "not a database",
        "store-foreign",
        "is not a Thumbtune store (it is not an SQLite file); move it away or choose another folder",
    ),
    ("malformed", "store-damaged", "is damaged; restore it from a copy or choose another folder"),
    (
        "disk is full",
        "disk-full",
        "could not be written because the disk is full; make room, then run the same command again",
    ),
    (
        "no space left",
        "disk-full",
        "could not be written because its server's disk is full; make room, then run the same command again",
    ),
    (
        "readonly",
        "store-read-only",
        "could not be written because it is read-only; change its permissions or choose another folder",
    ),
    (
        "read-only",
        "store-read-only",
        "could not be written because it is read-only; change its permissions or choose another folder",
    ),
    (
        "locked",
        "store-locked",
        "is being written by another program; wait for that to finish, then run the same command again",
    ),
    (
        "unable to open",
        "store-not-readable",
        "could not be opened; check that its folder exists and that you may read it and write there",
    ),
    (
        "disk i/o",
        "disk-failed",
        "could not be read or written because the disk failed; check the disk and the room left on it",
    ),
    ("password", "database-password", "refused the password; set PGPASSWORD, or write it into ~/.pgpass"),
    (NO_RIGHT, "database-no-right", "may not be used by this user; ask its administrator for the rights"),
    ("does not exist", "database-missing", "does not exist; make it with createdb, or check its name and the user's"),
    ("could not translate host", "database-unknown-host", "could not be found; check the name of its server"),
    ("resolve host", "database-unknown-host", "could not be found; check the name of its server"),
    (
        "connection",
        "database-unreachable",
        "could not be reached; check that its server runs and takes connections from here",
    ),
)


class DatabaseFailed(ThumbtuneError):
    """The database failed for a reason outside this program."""


def is_address(where: Path | str) -> bool:
    """Return whether this names a database server, and not a folder."""
    return "://" in str(where)


@contextmanager
def explain_errors(name: str) -> Iterator[None]:
    """Turn the database's errors inside the block into one sentence each.

    Raises:
        DatabaseFailed: the database failed for a reason outside this program.
    """
    try:
        yield
    except DamagedCell as error:
        raise _damaged(name, str(error)) from error
    except DatabaseError as error:
        message = str(error.orig)
        if NOT_UTF_8 in message.lower():  # without the text, which is none
            raise _damaged(name, "a text is not UTF-8") from error
        if isinstance(error, IntegrityError | ProgrammingError) and NO_RIGHT not in message.lower():
            raise  # a mistake in our code must stay visible
        for fragment, code, complaint in _COMPLAINTS:
            if fragment in message.lower():
                raise DatabaseFailed(f"{name} {complaint}.", code=code) from error
        raise DatabaseFailed(
            f"{name} could not be used ({message.strip()}); check the database and the disk.", code="database-failed"
        ) from error


def _damaged(name: str, problem: str) -> DatabaseFailed:
    where = first_damage(Path(name)) or problem
    return DatabaseFailed(
        f"{name} is damaged: {where}; restore it from a copy, or correct that cell.", code="store-damaged"
    )


def name_of(where: Path | str) -> str:
    """Return how people read the name of a database: its file, or its address without the password."""
    if not is_address(where):
        return without_passwords(str(where))
    # the password is left out rather than shown as ***, so that a printed command can be typed again
    return without_passwords(url_of(where).render_as_string(hide_password=True).replace(":***@", "@", 1))


def url_of(where: Path | str) -> URL:
    """Return the URL of a database: of a SQLite file, or the given address.

    Raises:
        UsageError: the address is malformed, holds a password as an option, or is of an unsupported database.
    """
    if not is_address(where):
        return URL.create("sqlite", database=str(Path(where).absolute()))
    try:
        url = make_url(str(where))
        if "@" in (url.host or ""):
            raise ValueError("a part of the password would be taken for the host")
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            f"{where} is not an address; write postgresql://user@host/database.", code="database-bad-address"
        ) from error
    if any("passw" in name.lower() for name in url.query):
        raise UsageError(
            f"The address of {url.host} contains a password as an option, which would be shown; set PGPASSWORD, or "
            "write it into ~/.pgpass.",
            code="database-password-shown",
        )
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername != "postgresql+psycopg":
        raise UsageError(
            f"{url.drivername} is not supported as a store of likes; give a folder, or "
            "postgresql://user@host/database.",
            code="database-unsupported",
        )
    return url


def may_only_be_read(file: Path) -> bool:
    """Return whether a SQLite file exists, and this user may not write it or its folder."""
    return file.is_file() and not (may_write(file) and may_write(file.parent))


def has_tables(where: Path | str) -> bool:
    """Return whether a database contains a store of likes, of this Thumbtune or an older one.

    Raises:
        ThumbtuneError: the database cannot be reached, or is of another program.
    """
    with _connected(where) as (engine, name), engine.connect() as connection:
        return version_of(connection, name) is not None


def has_rows(where: Path | str) -> bool:
    """Return whether a store, of this version, has any image or vote.

    Raises:
        ThumbtuneError: the database cannot be read, or is of another program.
    """
    with _connected(where) as (engine, name), engine.connect() as connection:
        if version_of(connection, name) is None:
            return False
        return any(connection.scalar(select(exists().select_from(table))) for table in (StoredImage, Vote))


def upgrade_database(where: Path | str) -> tuple[str, str]:
    """Upgrade a store's tables, even while others use them; return the schema versions before and after.

    Raises:
        ThumbtuneError: there is no store, it is of a newer Thumbtune, or it may not be written.
    """
    with _connected(where) as (engine, name):
        with engine.connect() as connection:
            before = version_of(connection, name)
        if before is None:
            raise ThumbtuneError(f"{name} contains no store of likes; import some likes first.", code="store-missing")
        upgrade(engine.execution_options(**WRITES), name)
    return before, NEWEST


@contextmanager
def _connected(where: Path | str) -> Iterator[tuple[Engine, str]]:
    name = name_of(where)
    engine = _engine(url_of(where), name)
    try:
        with explain_errors(name):
            yield engine, name
    finally:
        engine.dispose()


def open_database(where: Path | str, create: bool = True) -> Engine:
    """Connect to a SQLite file or a server, and make the tables if there are none and `create` is true.

    An older SQLite file is upgraded. A server's database, which others use too, is upgraded only by `thumbtune likes
    upgrade`.

    Raises:
        ThumbtuneError: not a database, of another program, of a newer or (on a server) older Thumbtune, not
            writable, or without tables.
    """
    url, name = url_of(where), name_of(where)
    engine = _engine(url, name)
    try:
        with explain_errors(name):
            with engine.begin() as connection:  # only a new database needs a write lock
                version = version_of(connection, name)
            if version is not None and version != NEWEST and is_address(where):
                raise ThumbtuneError(
                    f"{name} has the tables of an older Thumbtune (schema {version}); upgrade them with `thumbtune "
                    "likes upgrade`.",
                    code="store-outdated",
                )
            cannot_upgrade = version != NEWEST and not is_address(where) and may_only_be_read(Path(where))
            if cannot_upgrade and version is None:
                raise ThumbtuneError(
                    f"{name} contains no likes yet and is read-only here; import some as a user who may write it.",
                    code="store-empty",
                )
            if cannot_upgrade:
                raise ThumbtuneError(
                    f"{name} is of an older Thumbtune (schema {version}) and is read-only here; copy its folder to "
                    "where you may write, and open the copy to upgrade it.",
                    code="store-outdated",
                )
            if version is None and not create:
                raise ThumbtuneError(
                    f"{name} is an empty database, which contains no likes; restore it from a copy, or import some.",
                    code="store-empty",
                )
            if version != NEWEST:
                upgrade(engine.execution_options(**WRITES), name)
    except BaseException:
        engine.dispose()
        raise
    return engine


def copy_database(file: Path, to: Path) -> None:
    """Copy a SQLite database, even while others use it.

    Raises:
        ThumbtuneError: the database cannot be read, or the disk is full.
    """
    access = _ReadAccess(file)
    try:
        with closing(sqlite3.connect(f"{access.file.as_uri()}?{urlencode(access.options)}", uri=True)) as source:
            with closing(sqlite3.connect(to)) as copy:
                source.backup(copy)
    except sqlite3.Error as error:
        if access.is_outdated():
            raise ThumbtuneError(f"{file} {CHANGED_MEANWHILE}.", code="store-changed") from error
        raise ThumbtuneError(
            f"{file} could not be copied ({error}); check it and the free disk space.", code="store-not-copied"
        ) from error


def checkpoint(engine: Engine) -> bool:
    """Move SQLite's write-ahead log into the database; return False if others still read parts of it, which stay."""
    if engine.dialect.name != "sqlite":
        return True
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        raw = cast(sqlite3.Connection, connection.connection.driver_connection)
        (is_busy, *_) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _engine(url: URL, name: str) -> Engine:
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        engine = _reader_of(file, name) if may_only_be_read(file) else _writer_of(url)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "handle_error", _keep_after_ctrl_c)
        return engine
    try:
        return create_engine(url, hide_parameters=True)  # a report of an error is made public
    except ModuleNotFoundError as error:
        raise ThumbtuneError(
            f"{name} needs psycopg; install it with `pip install 'thumbtune[postgres]'`.", code="database-no-driver"
        ) from error


def _writer_of(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _configure)
    return engine


class _ReadAccess:
    """The options for reading a SQLite file, and whether they are still valid.

    Even to read a file with a write-ahead log, SQLite creates two files beside it, which a user without write
    permission cannot. If no writer has the file open, it is read as immutable. A writer has a log there, and an index
    of the log even while that is empty.
    """

    def __init__(self, file: Path) -> None:
        self.file = file.absolute()
        self._before = self._state()
        _, log, index = self._before
        in_use = log is not None and (index is not None or log[0] > 0)
        self.options = {"mode": "ro"}
        if may_only_be_read(file) and not in_use:
            self.options["immutable"] = "1"

    def is_outdated(self) -> bool:
        """Return whether the file was read as immutable, and a writer has changed or opened it since."""
        return "immutable" in self.options and self._state() != self._before

    def _state(self) -> list[tuple[int, int] | None]:
        """Return size and time of the file, its log and the log's index; None for a missing file."""
        return [_size_and_time(self.file.with_name(self.file.name + end)) for end in ("", "-wal", "-shm")]


def _size_and_time(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _reader_of(file: Path, name: str) -> Engine:
    """Return an engine for a read-only file."""
    access = _ReadAccess(file)

    def explain(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, sqlite3.Error) and access.is_outdated():
            raise ThumbtuneError(f"{name} {CHANGED_MEANWHILE}.", code="store-changed") from context.original_exception

    url = URL.create("sqlite", database=access.file.as_uri(), query=access.options | {"uri": "true"})
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _disable_driver_begin)
    event.listen(engine, "handle_error", explain)
    return engine


def _keep_after_ctrl_c(context: ExceptionContext) -> None:
    """Keep the connection after Ctrl-C; SQLAlchemy would close it, and then complain about its open cursor."""
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False


def _disable_driver_begin(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # `_begin` below begins transactions; the driver must not


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    """Configure a new connection."""
    _disable_driver_begin(connection, _record)
    for setting in (
        "journal_mode = WAL",
        "foreign_keys = ON",
        "recursive_triggers = ON",
        "synchronous = FULL",
        "secure_delete = ON",
    ):
        # secure_delete: deleted rows are overwritten
        # recursive_triggers: without it, INSERT OR REPLACE would delete a vote past the trigger
        connection.execute(f"PRAGMA {setting}").close()


def _begin(connection: Connection) -> None:
    """Begin a transaction. Writers lock at once: two that first read and then wait for each other would deadlock."""
    writes = connection.get_execution_options().get("thumbtune_writes", False)
    connection.exec_driver_sql(f"PRAGMA cache_size = -{WRITER_KILOBYTES if writes else READER_KILOBYTES}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
