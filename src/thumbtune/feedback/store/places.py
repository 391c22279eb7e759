"""Where images lie, byte for byte: a folder, or anything that fsspec opens (s3://, gs://, memory://)."""

from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from thumbtune.errors import ThumbtuneError, reason
from thumbtune.files import write_whole


class Place(Protocol):
    """Files by name; names have forward slashes."""

    def has(self, name: str, size: int) -> bool:
        """Whether a file of this name and size is there."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        ...

    def address(self, name: str) -> str:
        """What opens the file elsewhere: a path, or a URL."""
        ...


def place_at(root: str, beside: Path) -> Place:
    """The place that a store names; a relative folder starts at `beside`.

    Raises:
        ThumbtuneError: nothing opens such addresses, or what does is not installed.
    """
    protocol, separator, rest = root.partition("://")
    if not separator:
        return Folder(beside / root)
    return Folder(Path(rest)) if protocol == "file" else Remote(root)


class Folder:
    """Files below a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, name: str, size: int) -> bool:
        path = self.root / name
        return path.is_file() and path.stat().st_size == size

    def write(self, name: str, data: bytes) -> None:
        write_whole(self.root / name, lambda partial: partial.write_bytes(data))

    def read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise unreadable(self.address(name), error) from error

    def address(self, name: str) -> str:
        return str((self.root / PurePosixPath(name)).absolute())


class Remote:
    """Files below a URL; an object store writes each whole or not at all."""

    def __init__(self, root: str) -> None:
        import fsspec

        self.root = root.rstrip("/")
        try:
            found: tuple[Any, str] = fsspec.core.url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise ThumbtuneError(
                f"The images are to lie at {root}, which cannot be opened here ({reason(error)}); install what opens "
                "it, or name another place."
            ) from error
        self._files, self._base = found

    def _path(self, name: str) -> str:
        return f"{self._base.rstrip('/')}/{name}"

    def has(self, name: str, size: int) -> bool:
        try:
            return self._files.size(self._path(name)) == size
        except FileNotFoundError:
            return False
        except Exception as error:  # of a network, of a server, of whatever opens it
            raise unreadable(self.address(name), error) from error

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, data)
        except Exception as error:  # as above
            raise ThumbtuneError(
                f"{self.address(name)} could not be written ({reason(error)}); check your rights there and the "
                "connection."
            ) from error

    def read(self, name: str) -> bytes:
        try:
            return self._files.cat_file(self._path(name))
        except Exception as error:  # as above
            raise unreadable(self.address(name), error) from error

    def address(self, name: str) -> str:
        return f"{self.root}/{name}"


def unreadable(address: str, error: Exception) -> ThumbtuneError:
    """The sentence for an image that a store names and that does not come."""
    why = getattr(error, "strerror", None) or reason(error)
    return ThumbtuneError(f"The image {address} could not be read ({why}); restore it, or import it again.")
