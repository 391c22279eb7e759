"""A temporary SQLite database for data that may not fit into memory; a few megabytes of it are cached there.

It has no file name, and disappears when it is closed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from thumbtune.errors import ThumbtuneError

SETTINGS = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; PRAGMA temp_store = FILE"


def open_scratch(tables: str, contents: str) -> sqlite3.Connection:
    """Return a database with these tables, for the caller to close; `contents` names it in errors.

    Raises:
        ThumbtuneError: there is no room for temporary files.
    """
    with in_sentences(contents):
        database = sqlite3.connect("", isolation_level=None)  # SQLite's name for a temporary file
        database.executescript(SETTINGS)
        database.executescript(f"{tables}; BEGIN")  # never committed: none of it is to be kept
    return database


@contextmanager
def in_sentences(contents: str) -> Iterator[None]:
    """Turn SQLite's errors inside the block into one sentence with advice.

    Raises:
        ThumbtuneError: the temporary file could not be read or written.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise ThumbtuneError(
            f"{contents} could not be stored in a temporary file ({error}); free space on "
            "that disk, or set SQLITE_TMPDIR to a folder on another disk.",
            code="temporary-file-failed",
        ) from error
