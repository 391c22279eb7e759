"""Locate a store of likes, in a folder or at an address: check whether it exists, upgrade it, copy it."""

import shutil
from contextlib import suppress
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.database import copy_database, has_rows, has_tables, is_address, upgrade_database
from thumbtune.feedback.store.erasure import TABLES
from thumbtune.feedback.store.hold import hold_alone, release

STORE_FILE = "likes.sqlite"
OWN_FOLDERS = ("images", TABLES)
KEY_FILE = "raters.key"  # with which exports make pseudonyms of raters (exporters/raters.py)


def is_store(where: Path | str) -> bool:
    """Return whether a folder is a store of likes; True for any address, without connecting.

    Raises:
        ThumbtuneError: the folder may not be read.
        OSError: no folder can have this name.
    """
    try:
        return is_address(where) or (Path(where) / STORE_FILE).is_file()
    except PermissionError as error:
        raise ThumbtuneError(
            f"{where} could not be read ({error.strerror}); ask its owner for permission.",
            code="store-not-readable",
        ) from error


def check_is_store(folder: Path) -> None:
    """Refuse a folder without a store.

    Raises:
        ThumbtuneError: there is no store in it, or it may not be read.
    """
    if not is_store(folder):
        raise ThumbtuneError(
            f"{folder} contains no {STORE_FILE}, so it is not a store of likes; import some likes first.",
            code="store-missing",
        )


def is_made(where: Path | str) -> bool:
    """Return whether a folder or address has a store already.

    Raises:
        ThumbtuneError: the server cannot be reached.
    """
    return has_tables(where) if is_address(where) else is_store(where)


def upgrade_store(where: Path | str) -> tuple[str, str]:
    """Upgrade a store of an older Thumbtune; return the schema versions before and after.

    Raises:
        ThumbtuneError: there is no store, it is of a newer Thumbtune, or it may not be written.
    """
    if not is_address(where):
        check_is_store(Path(where))
    return upgrade_database(where if is_address(where) else Path(where) / STORE_FILE)


def remove_if_empty(folder: Path, with_folder: bool) -> bool:
    """Remove a store without any vote and image that no other process has open; return whether it was removed.

    Args:
        folder: of the store.
        with_folder: remove all that a store keeps there, and the folder if nothing else is in it; otherwise only the
            database, as the folder and what is in it are somebody's.
    """
    hold = hold_alone(folder)
    if hold is None:
        return False
    try:
        if not is_store(folder) or has_rows(folder / STORE_FILE):
            return False
        for end in ("-wal", "-shm", ""):
            (folder / f"{STORE_FILE}{end}").unlink(missing_ok=True)
        if with_folder:
            (folder / KEY_FILE).unlink(missing_ok=True)
            for name in OWN_FOLDERS:
                shutil.rmtree(folder / name, ignore_errors=True)
            with suppress(OSError):  # a file of somebody else's lies in it
                folder.rmdir()
    except OSError:  # it is open elsewhere (Windows), or may not be removed
        return False
    finally:
        release(hold)
    return True


def copy_store(folder: Path, to: Path) -> None:
    """Copy the votes of a folder's store, without its images, even while others use it.

    Raises:
        ThumbtuneError: the store is damaged, of a newer Thumbtune, or may not be read.
    """
    has_tables(folder / STORE_FILE)
    copy_database(folder / STORE_FILE, to / STORE_FILE)
    with suppress(OSError):  # a store that was never exported has no key
        shutil.copy(folder / KEY_FILE, to / KEY_FILE)
