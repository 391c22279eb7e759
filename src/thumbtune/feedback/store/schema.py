"""Which form of the schema a database has, and the way up to the newest."""

import sqlite3
import threading
from importlib import resources
from typing import cast

from sqlalchemy import Connection, Engine, inspect

from thumbtune.errors import ThumbtuneError

VERSIONS = ("0001", "0002")  # of `migrations/versions`, oldest first
NEWEST = VERSIONS[-1]
_ONE_AT_A_TIME = threading.Lock()  # Alembic keeps what it works on in globals
LOCK = 0x7468756D62  # of a server, while somebody makes tables there: any number that is only ours
FIRST_FORM = 1  # what SQLite's user_version is where no Alembic has been


def version_of(connection: Connection, name: str) -> str | None:
    """The version of a database; None where it is empty.

    Raises:
        ThumbtuneError: it is of a newer Thumbtune, or of some other program.
    """
    tables = inspect(connection).get_table_names()
    found = None
    if "alembic_version" in tables and "votes" in tables:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    elif connection.dialect.name == "sqlite":
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        found = VERSIONS[0] if number == FIRST_FORM else f"{number:04}" if number else None
    if found is not None and found not in VERSIONS:
        raise ThumbtuneError(
            f"{name} was written by a newer Thumbtune (schema {found}; this one knows {NEWEST}); "
            "upgrade thumbtune or choose another folder."
        )
    if found is None and tables:
        raise ThumbtuneError(f"{name} is a database of some other program; move it away or choose another.")
    return found


def upgrade(engine: Engine, name: str, to: str = NEWEST) -> None:
    """Make the tables, or bring them up to date, in one transaction: all of it or nothing.

    Raises:
        ThumbtuneError: as `version_of`.
    """
    with _ONE_AT_A_TIME, engine.connect() as connection:
        if connection.dialect.name == "sqlite":  # a table is rebuilt while others refer to it; inside BEGIN it is late
            cast(sqlite3.Connection, connection.connection.driver_connection).execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                if connection.dialect.name == "postgresql":  # SQLite locked its file with BEGIN IMMEDIATE
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
                _run(connection, version_of(connection, name), to)
        finally:
            connection.invalidate()  # the setting must not outlive this


def _run(connection: Connection, version: str | None, to: str) -> None:
    from alembic import command
    from alembic.config import Config

    if version == to:  # somebody else was faster
        return
    config = Config()
    config.set_main_option("script_location", str(resources.files("thumbtune.feedback.store") / "migrations"))
    config.attributes["connection"] = connection
    if version == VERSIONS[0]:
        command.stamp(config, version)  # the first form knew no Alembic; to say so again changes nothing
    command.upgrade(config, to)
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        assert broken is None, f"the upgrade to {to} left a row that refers to nothing: {broken}"
        connection.exec_driver_sql(f"PRAGMA user_version = {int(to)}")  # older versions of Thumbtune look here
