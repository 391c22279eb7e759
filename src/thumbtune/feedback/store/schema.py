"""Read the schema version of a database, and upgrade it to the newest."""

import sqlite3
import threading
from importlib import resources
from typing import cast

from sqlalchemy import Connection, Engine, inspect

from thumbtune.errors import ThumbtuneError

VERSIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")  # of `migrations/versions`, oldest first
NEWEST = VERSIONS[-1]
_ONE_AT_A_TIME = threading.Lock()  # Alembic keeps its state in globals
LOCK = 0x7468756D62  # advisory lock of a server while tables are made there; any number that only we use
FIRST_FORM = 1  # SQLite's user_version in stores from before Alembic


def version_of(connection: Connection, name: str) -> str | None:
    """Return the schema version of a database, or None if it is empty.

    Raises:
        ThumbtuneError: the database is of a newer Thumbtune, or of another program.
    """
    tables = inspect(connection).get_table_names()
    version = None
    if "alembic_version" in tables and "votes" in tables:
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    elif connection.dialect.name == "sqlite":
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        version = VERSIONS[0] if number == FIRST_FORM else f"{number:04}" if number else None
    if version is not None and version not in VERSIONS:
        raise ThumbtuneError(
            f"{name} was written by a newer Thumbtune (schema {version}; this one reads up to {NEWEST}); "
            "upgrade Thumbtune or choose another folder.",
            code="store-newer",
        )
    if version is None and tables:
        raise ThumbtuneError(
            f"{name} is a database of another program; move it away or choose another folder.", code="store-foreign"
        )
    return version


def upgrade(engine: Engine, name: str, to: str = NEWEST) -> None:
    """Make the tables, or upgrade them, in one transaction: entirely or not at all.

    Raises:
        ThumbtuneError: as `version_of`.
    """
    with _ONE_AT_A_TIME, engine.connect() as connection:
        if connection.dialect.name == "sqlite":  # tables with references are rebuilt; inside BEGIN this has no effect
            cast(sqlite3.Connection, connection.connection.driver_connection).execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                if connection.dialect.name == "postgresql":  # SQLite locked its file with BEGIN IMMEDIATE
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
                _run(connection, version_of(connection, name), to)
        finally:
            connection.invalidate()  # the setting must not outlive the upgrade


def _run(connection: Connection, version: str | None, to: str) -> None:
    from alembic import command
    from alembic.config import Config

    if version == to:  # another process upgraded it first
        return
    config = Config()
    config.set_main_option("script_location", str(resources.files("thumbtune.feedback.store") / "migrations"))
    config.attributes["connection"] = connection
    if version == VERSIONS[0]:
        command.stamp(config, version)  # the first form has no Alembic version; stamping twice changes nothing
    command.upgrade(config, to)
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        assert broken is None, f"the upgrade to {to} left a row that refers to nothing: {broken}"
        connection.exec_driver_sql(f"PRAGMA user_version = {int(to)}")  # where older versions of Thumbtune look
