"""A copy of a store's votes to take away, made while the studio goes on: SQLite's own backup, never a copy of the file.

The images are not in it; they are plain files in the store's folder. A server has tools of its own.
"""

import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from thumbtune.errors import UsageError
from thumbtune.feedback.store.database import copy_database, is_address, name_of
from thumbtune.feedback.store.location import STORE_FILE
from thumbtune.feedback.temporary import prefix_of
from thumbtune.studio.site import Site


@dataclass(frozen=True)
class Backup:
    """A copy in a temporary folder: its file, the name for the download, and what removes the folder."""

    file: Path
    name: str
    remove: Callable[[], None]


def backup_of(site: Site) -> Backup:
    """Return a copy of the store's database.

    Raises:
        UsageError: the store is on a server.
        ThumbtuneError: the database cannot be read, or the disk is full; nothing is left there.
    """
    if is_address(site.likes):
        raise UsageError(
            f"This store is on a server, which makes its own copies; run `{backup_command(site)}`.",
            code="studio-backup-server",
        )
    folder = tempfile.TemporaryDirectory(prefix=prefix_of("likes"))
    file = Path(folder.name) / STORE_FILE
    try:
        copy_database(Path(site.likes) / STORE_FILE, file)
    except BaseException:
        folder.cleanup()
        raise
    return Backup(file, backup_name(), folder.cleanup)


def backup_name() -> str:
    """Return the name of today's copy."""
    return f"likes-{date.today():%Y-%m-%d}.sqlite"


def backup_command(site: Site) -> str:
    """Return the command that makes the same copy."""
    if is_address(site.likes):
        return shlex.join(["pg_dump", "--file", "likes.sql", "--dbname", _plain(name_of(site.likes))])
    return shlex.join(["sqlite3", str(Path(site.likes) / STORE_FILE), f".backup {backup_name()}"])


def _plain(address: str) -> str:
    """Return an address without the driver, as PostgreSQL's programs take it."""
    scheme, _, rest = address.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"
