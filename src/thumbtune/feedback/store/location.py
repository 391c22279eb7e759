"""Where a store of likes is: a folder with a database in it, or an address; is one there, and of which version?"""

import shutil
from contextlib import suppress
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.database import copy_database, has_tables, is_address, upgrade_database

STORE_FILE = "likes.sqlite"
KEY_FILE = "raters.key"  # by which exports name raters (exporters/raters.py)


def is_store(where: Path | str) -> bool:
    """Whether a folder is a store of likes; an address is taken at its word.

    Raises:
        ThumbtuneError: it may not be looked into.
        OSError: it is no name that a folder can have.
    """
    try:
        return is_address(where) or (Path(where) / STORE_FILE).is_file()
    except PermissionError as error:
        raise ThumbtuneError(
            f"{where} could not be looked into ({error.strerror}); ask its owner for the right to read it."
        ) from error


def check_is_store(folder: Path) -> None:
    """Refuse a folder that is no store.

    Raises:
        ThumbtuneError: there is none in it, or it may not be looked into.
    """
    if not is_store(folder):
        raise ThumbtuneError(f"{folder} has no {STORE_FILE} and so no store of likes; import some first.")


def is_made(where: Path | str) -> bool:
    """Whether there is a store already, in a folder or at an address.

    Raises:
        ThumbtuneError: the server cannot be reached.
    """
    return has_tables(where) if is_address(where) else is_store(where)


def upgrade_store(where: Path | str) -> tuple[str, str]:
    """Bring a store of an older Thumbtune up to date; the versions before and after.

    Raises:
        ThumbtuneError: there is none, or it is of a newer Thumbtune, or may not be written.
    """
    if not is_address(where):
        check_is_store(Path(where))
    return upgrade_database(where if is_address(where) else Path(where) / STORE_FILE)


def copy_store(folder: Path, to: Path) -> None:
    """Copy the votes of a folder's store, not its images, while others use it.

    Raises:
        ThumbtuneError: it is damaged, of a newer Thumbtune, or may not be read.
    """
    has_tables(folder / STORE_FILE)
    copy_database(folder / STORE_FILE, to / STORE_FILE)
    with suppress(OSError):  # there may be none
        shutil.copy(folder / KEY_FILE, to / KEY_FILE)
