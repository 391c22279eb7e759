"""Resolve the images that a table names: they lie below its own folder or a given root, and nowhere else."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PureWindowsPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from thumbtune.errors import UsageError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.quoting import named, shown
from thumbtune.feedback.reading.lost_names import LostNames, SharedEnd

MAX_FOUND_NAMES = 10_000


class SharedName(UnreadableImage):
    """Two names of images mean one file."""


@dataclass(frozen=True)
class ImageRoot:
    """The `folder` of a table, and the `root` that its images must lie below; None is that folder.

    The images may also lie in a folder `inner` of either, which their names omit. `survey` looks for all names of the
    table with this root, as `LostNames` asks for.
    """

    folder: Path
    root: Path | None = None
    inner: str = "."
    survey: "Callable[[ImageRoot], bool] | None" = field(default=None, compare=False)

    @cached_property
    def _found(self) -> dict[str, Path]:
        """The files that were found, by the names that tables repeat in each vote on an image."""
        return {}

    @cached_property
    def _below(self) -> Path:
        return (self.root or self.folder).resolve()

    def has_found(self, name: str) -> bool:
        """Return whether `path_of` has found the file of this very name."""
        return name in self._found

    def path_of(self, name: str) -> Path:
        """Return the file of this name, below the root or else from the table's folder.

        A table from elsewhere must not choose files of this machine. So links and `..` must stay below the root, and
        absolute paths need a given root. Names may be file: URLs and may have backslashes. If no file has this very
        name, `lost_names` finds the one that it means, also from the path of another machine.

        Raises:
            UnreadableImage: it leads out, or fits two names.
        """
        if name in self._found:
            return self._found[name]
        try:
            paths = [path for path in self._paths(name) if path.is_relative_to(self._below)]
            file = next((path for path in paths if path.is_file()), None)
            if file is not None:
                if len(self._found) >= MAX_FOUND_NAMES:
                    self._found.clear()
                self._found[name] = file
                return file
            file = self._lost(name)
        except SharedEnd as error:
            raise SharedName(
                f"{shown(name)} and another name both end in {named(str(error))}; copy the images together with their "
                "folders, and give the folder above them, as in --root images"
            ) from error
        except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, a circle of links
            raise UnreadableImage(f"{shown(name)} is not a file name; correct it or remove the row") from error
        if not paths and file is None:
            raise UnreadableImage(
                f"{shown(name)} is outside the folder; put the image into the folder, or "
                "give the folder that contains the image, as in --root images"
            )
        return file or paths[0]

    def _lost(self, name: str) -> Path | None:
        """Return the file below the root that a name means, though it has another."""
        found = self._names.find(_path_in(name) if name.lower().startswith("file:") else name)
        found = None if found is None else found.resolve()
        return found if found is not None and found.is_relative_to(self._below) else None

    @cached_property
    def _names(self) -> LostNames:
        bases = (self.root or self.folder, self.folder)
        below = [base.resolve() for base in (*bases, *(base / self.inner for base in bases))]
        folders = dict.fromkeys(base for base in below if base.is_relative_to(self._below))
        survey = None if self.survey is None else partial(self.survey, self)
        return LostNames(tuple(folders), shortens=self.root is not None, survey=survey)

    def _paths(self, name: str) -> Iterator[Path]:
        if name.lower().startswith("file:"):
            name = _path_in(name)
        windows = PureWindowsPath(name)  # understands both kinds of slash, and drive letters, on every system
        if (windows.drive and os.name != "nt") or (self.root is None and windows.anchor):
            return  # only somebody at this machine can mean its absolute paths
        bases = (self.root or self.folder, self.folder)
        for base in dict.fromkeys((*bases, *(base / self.inner for base in bases))):
            yield (base / (windows.as_posix() if "\\" in name else name)).resolve()


def _path_in(url: str) -> str:
    """Return the path in a file: URL; for another machine, a name that leads out of every root."""
    parts = urlsplit(url)
    return url2pathname(parts.path) if parts.netloc in {"", "localhost"} else f"//{parts.netloc}{parts.path}"


def check_root(root: Path | None) -> None:
    """Refuse a root that is no folder.

    Raises:
        UsageError: it is no folder.
    """
    if root is not None and not root.is_dir():
        raise UsageError(f"{root} is not a folder; give the folder that contains the images.", code="root-missing")
