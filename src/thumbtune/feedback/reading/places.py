"""Where the images of a table may lie: below its own folder or below one that was given, and nowhere else."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from thumbtune.errors import UsageError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.shown import shown


@dataclass(frozen=True)
class Place:
    """The `folder` of a table, and the `root` that its images must lie below: that folder where none is given.

    They may also lie in an `inner` folder of either that their names do not mention.
    """

    folder: Path
    root: Path | None = None
    inner: str = "."

    @cached_property
    def _below(self) -> Path:
        return (self.root or self.folder).resolve()

    def path_of(self, name: str) -> Path:
        """The file of this name, looked for below the root first and then from the table's folder.

        A table from elsewhere must not pick files here, so links and `..` may lead anywhere below the root and
        nowhere else, and whole paths only where a root was given. Names may be file: URLs, and have back slashes.

        Raises:
            UnreadableImage: it leads out.
        """
        try:
            paths = [path for path in self._paths(name) if path.is_relative_to(self._below)]
            found = next((path for path in paths if path.is_file()), None)
        except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, a circle of links
            raise UnreadableImage(f"{shown(name)} is no name of a file; mend it or remove the row") from error
        if not paths:
            raise UnreadableImage(
                f"{shown(name)} leads out of the folder; put the image beside the table or into it, "
                "or give the folder that holds it, as in --root images"
            )
        return found or paths[0]

    def _paths(self, name: str) -> Iterator[Path]:
        if name.lower().startswith("file:"):
            name = _path_in(name)
        windows = PureWindowsPath(name)  # understands both kinds of slash, and drive letters, on every system
        if (windows.drive and os.name != "nt") or (self.root is None and windows.anchor):
            return  # a whole path is one of this machine, which only somebody on it can have meant
        bases = (self.root or self.folder, self.folder)
        for base in dict.fromkeys((*bases, *(base / self.inner for base in bases))):
            yield (base / (windows.as_posix() if "\\" in name else name)).resolve()


def _path_in(url: str) -> str:
    """The path in a file: URL, or a name that leads out where it is on another machine."""
    parts = urlsplit(url)
    return url2pathname(parts.path) if parts.netloc in {"", "localhost"} else f"//{parts.netloc}{parts.path}"


def check_root(root: Path | None) -> None:
    """Refuse a root that is no folder.

    Raises:
        UsageError: it is none.
    """
    if root is not None and not root.is_dir():
        raise UsageError(f"{root} is no folder; give the one that the images lie below.", code="root-missing")
