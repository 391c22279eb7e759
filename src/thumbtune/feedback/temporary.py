"""Temporary folders with votes in them, named by their process, so that those of ended processes can be removed."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from platform import node

from thumbtune.locks import is_running

BEGINNING = "thumbtune-"
KINDS = ("likes", "rehearsal")
ABANDONED_SECONDS = 24 * 60 * 60  # without a write, of a folder whose process is unknown


def prefix_of(kind: str) -> str:
    """Return how the names of this process's temporary folders begin, for `tempfile`; `kind` is one of `KINDS`."""
    return f"{BEGINNING}{kind}-{node()}.{os.getpid()}."


def remove_leftovers() -> None:
    """Remove the temporary folders that ended processes of this machine left behind."""
    for folder in _folders():
        process = _process_of(folder.name)
        if not is_running(process) if process else _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _folders() -> Iterator[Path]:
    for kind in KINDS:
        yield from Path(tempfile.gettempdir()).glob(f"{BEGINNING}{kind}-*")


def _process_of(name: str) -> int | None:
    """Return the process of this machine that made a folder; None for one of another machine or an older version."""
    for kind in KINDS:
        beginning = f"{BEGINNING}{kind}-{node()}."
        if name.startswith(beginning):
            number = name.removeprefix(beginning).partition(".")[0]
            return int(number) if number.isdecimal() else None
    return None


def _is_abandoned(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False
