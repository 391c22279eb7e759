"""Read and write image files, byte for byte: in a folder, or at any fsspec URL (s3://, gs://, memory://)."""

import os
from pathlib import Path
from typing import Any, Protocol

from thumbtune.errors import ThumbtuneError, reason
from thumbtune.files import flush_all, sweep, write_whole


class ImageStorage(Protocol):
    """Files by name; names have forward slashes."""

    def has(self, name: str, size: int) -> bool:
        """Return whether a file of this name and size exists."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        ...

    def flush(self) -> None:
        """Wait until all written files are on the disk, so that no vote outlives its image in a power cut."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        ...

    def address(self, name: str) -> str:
        """Return the path or URL of a file."""
        ...


def storage_at(root: str, beside: Path) -> ImageStorage:
    """Return the storage at a folder or URL; a relative folder starts at `beside`.

    Raises:
        ThumbtuneError: no installed package opens such URLs.
    """
    protocol, separator, rest = root.partition("://")
    if not separator:
        return FolderStorage(beside / root)
    return FolderStorage(Path(rest)) if protocol == "file" else RemoteStorage(root)


class FolderStorage:
    """Files below a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root, self._base = root, str(root.absolute())  # as text: a table has a million addresses
        self._written: list[Path] = []
        self._swept: set[Path] = set()

    def has(self, name: str, size: int) -> bool:
        path = self.root / name
        return path.is_file() and path.stat().st_size == size

    def write(self, name: str, data: bytes) -> None:
        path = self.root / name
        if path.parent not in self._swept:
            self._swept.add(path.parent)
            sweep(path.parent)  # of what a killed process left
        write_whole(path, lambda partial: partial.write_bytes(data))
        self._written.append(path)

    def flush(self) -> None:
        written, self._written = self._written, []
        flush_all(written)

    def read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise unreadable(self.address(name), error) from error

    def address(self, name: str) -> str:
        return f"{self._base}{os.sep}{name.replace('/', os.sep)}" if name else self._base


class RemoteStorage:
    """Files below a URL; an object store writes each file whole or not at all."""

    def __init__(self, root: str) -> None:
        import fsspec

        self.root = root.rstrip("/")
        try:
            file_system: tuple[Any, str] = fsspec.core.url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise ThumbtuneError(
                f"The image location {root} cannot be opened here ({reason(error)}); install the package that opens "
                "it, or name another location.",
                code="images-bad-location",
            ) from error
        self._files, self._base = file_system

    def _path(self, name: str) -> str:
        return f"{self._base.rstrip('/')}/{name}"

    def has(self, name: str, size: int) -> bool:
        try:
            return self._files.size(self._path(name)) == size
        except FileNotFoundError:
            return False
        except Exception as error:  # any error of the network, the server or the file system's package
            raise unreadable(self.address(name), error) from error

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, data)
        except Exception as error:  # as above
            raise ThumbtuneError(
                f"{self.address(name)} could not be written ({reason(error)}); check your rights there and the "
                "connection.",
                code="image-not-written",
            ) from error

    def flush(self) -> None:
        return None  # the service has answered for each file

    def read(self, name: str) -> bytes:
        try:
            return self._files.cat_file(self._path(name))
        except Exception as error:  # as above
            raise unreadable(self.address(name), error) from error

    def address(self, name: str) -> str:
        return f"{self.root}/{name}"


def unreadable(address: str, error: Exception) -> ThumbtuneError:
    """Return the error for a stored image that cannot be read."""
    cause = getattr(error, "strerror", None) or reason(error)
    return ThumbtuneError(
        f"The image {address} could not be read ({cause}); restore it, or import it again.", code="image-not-read"
    )
