"""Hold the folder of a store while it is open, so that no other process removes it as empty.

Every open store shares a lock on its folder. An import that failed removes the store that it made only under the whole
lock, which it gets when no other process has the store open. The lock lies on the folder itself: it leaves no file
behind, and ends with its process, however that ends.
"""

import os
from pathlib import Path

from thumbtune import locks

ATTEMPTS = 100  # of opening a folder that others remove meanwhile


def make_and_hold(folder: Path) -> int | None:
    """Make a folder unless it exists, and hold it; return a hold for `release`, or None where folders take no locks.

    Raises:
        OSError: the folder cannot be made.
    """
    for _ in range(ATTEMPTS):
        folder.mkdir(parents=True, exist_ok=True)
        hold = _locked(folder, exclusive=False)
        if hold is None or locks.is_same(hold, folder):
            return hold
        release(hold)  # it was removed while this process waited
    return None


def hold_alone(folder: Path) -> int | None:
    """Hold a folder that no other process holds; return None if another one does, or if folders take no locks."""
    hold = _locked(folder, exclusive=True)
    if hold is None or locks.is_same(hold, folder):
        return hold
    release(hold)
    return None


def release(hold: int | None) -> None:
    """End a hold; ending it again, or ending None, does nothing."""
    if hold is not None:
        os.close(hold)


def _locked(folder: Path, exclusive: bool) -> int | None:
    if locks.fcntl is None:  # Windows, where an open database cannot be removed anyway
        return None
    try:
        hold = os.open(folder, os.O_RDONLY)
    except OSError:  # not readable, or gone
        return None
    if locks.take(hold, wait=not exclusive, shared=not exclusive):
        return hold
    release(hold)  # held by others, or on a disk without locks
    return None
