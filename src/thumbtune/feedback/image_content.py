"""The bytes of images as an import meets them: each file is read and hashed once, however many rows name it.

A file that is unchanged since it was hashed has the same hash, so its bytes are read again only if somebody needs them.
It counts as unchanged if device, inode, size and times are the same, and if it was some seconds old when it was hashed:
file systems write times in ticks, within which a file can change twice.
"""

import os
import stat
import time
from functools import partial
from pathlib import Path

from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.source import Bytes
from thumbtune.files import sha256

MAX_HASHED_FILES = 50_000  # some 20 MB
SETTLED_SECONDS = 2.0  # the coarsest ticks, those of FAT
CHANGED = "it changed while it was imported; import it again"


class HashedBytes(bytes):
    """Bytes in memory, with their hash."""

    digest: str


class HashedFile:
    """A file that was read and hashed before, and has not changed since."""

    __slots__ = ("digest", "path", "size")

    def __init__(self, path: Path, size: int, digest: str) -> None:
        self.path, self.size, self.digest = path, size, digest

    def __len__(self) -> int:
        return self.size


Content = bytes | HashedFile


def digest_of(content: Content) -> str:
    """Return the sha256 of an image's bytes."""
    return content.digest if isinstance(content, HashedFile | HashedBytes) else sha256(content)


def bytes_of(content: Content) -> bytes:
    """Return an image's bytes, read again if they are in a file.

    Raises:
        UnreadableImage: the file cannot be read, or has changed since it was hashed.
    """
    if isinstance(content, bytes):
        return content
    data = read_image(content.path)
    if sha256(data) != content.digest:
        raise UnreadableImage(CHANGED)
    return data


class ImageFiles:
    """The files of one import that were hashed, by their names."""

    def __init__(self) -> None:
        self._hashed: dict[str, tuple[tuple[int, ...], HashedFile]] = {}

    def content(self, read: Bytes) -> Content:
        """Return what a source's function reads; of a file that was hashed before, its hash alone.

        Raises:
            UnreadableImage: as the function.
        """
        if not isinstance(read, partial) or read.func is not read_image:
            return read()
        path = os.fspath(read.args[0])
        try:
            state = _state_of(os.stat(path))
        except (OSError, ValueError):
            return read()  # which says why
        before = self._hashed.get(path)
        if before is not None and before[0] == state:
            return before[1]
        data = HashedBytes(read())
        data.digest = sha256(data)
        if state is not None:
            if len(self._hashed) >= MAX_HASHED_FILES:
                self._hashed.clear()
            self._hashed[path] = state, HashedFile(read.args[0], len(data), data.digest)
        return data


def _state_of(file: os.stat_result) -> tuple[int, ...] | None:
    """Return what changes with a file; None for one that has just changed, or is no plain file."""
    if not stat.S_ISREG(file.st_mode) or time.time() - max(file.st_mtime, file.st_ctime) < SETTLED_SECONDS:
        return None
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns
