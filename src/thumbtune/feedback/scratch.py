"""A temporary SQLite database, for what may not fit a memory: of it a few megabytes are in memory.

It has no name, and is gone once it is closed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from thumbtune.errors import ThumbtuneError

SETTINGS = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; PRAGMA temp_store = FILE"


def open_scratch(tables: str, what: str) -> sqlite3.Connection:
    """A database with these tables in it, to be closed by whoever asked for it; `what` is how sentences call it.

    Raises:
        ThumbtuneError: there is no room for temporary files.
    """
    with in_sentences(what):
        database = sqlite3.connect("", isolation_level=None)  # SQLite's name for one in a temporary file
        database.executescript(SETTINGS)
        database.executescript(f"{tables}; BEGIN")  # never committed: nothing of it is to be kept
    return database


@contextmanager
def in_sentences(what: str) -> Iterator[None]:
    """Say what to do when a temporary file cannot be written.

    Raises:
        ThumbtuneError: it could not.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise ThumbtuneError(
            f"{what} could not be kept in a temporary file ({error}); make room on that disk, or "
            "name a folder on another with SQLITE_TMPDIR."
        ) from error
