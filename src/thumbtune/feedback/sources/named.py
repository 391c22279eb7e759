"""Where the pictures that a table names lie, and which of them may be read: a strange table must not pick files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath

from thumbtune.feedback.pictures import UnreadablePicture, read_picture
from thumbtune.feedback.sources.found import Bytes
from thumbtune.files import sha256

SHOWN = 80  # characters of a name that a sentence repeats: a cell may hold a whole picture as text
NO_PICTURE = "it names no picture for {side}; fill it in or remove the row"
MISSING = "there is no such file as {name!r}; put it there or remove the row"
OUTSIDE = "{name!r} leads out of the folder; put the picture beside the table or into it"
ADDRESS = "{name!r} is an address on the web; download the picture and name its file"


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """A picture in a table's cell: what tells it from others, and its bytes, or why there are none."""

    name: str
    image: Bytes | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Places:
    """Folders in which a named picture is looked for, in this order. All that is read lies below `root`."""

    folders: tuple[Path, ...]
    root: Path

    @classmethod
    def of(cls, table: Path, root: Path | None, subfolders: Sequence[str] = ()) -> "Places":
        """The table's own folder and folders in it; then, if somebody named one, the same below `root`."""
        starts = (table.parent,) if root is None else (table.parent, root)
        folders = tuple(start / name for start in starts for name in (".", *subfolders))
        return cls(folders, root or table.parent)

    def picture(self, cell: object, side: str) -> Pictured:
        """The picture in a cell: bytes, the name of a file, or both as `datasets` writes them. Bytes come first.

        Raises:
            UnreadablePicture: the cell holds none.
        """
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if isinstance(cell, (bytes, bytearray, memoryview)) and cell:
            data = bytes(cell)
            return Pictured(name=sha256(data), image=lambda: data)
        if not isinstance(cell, str) or not cell.strip():
            raise UnreadablePicture(NO_PICTURE.format(side=side))
        name = cell.strip()
        try:
            return Pictured(name=str(Path(name)), image=partial(read_picture, self.find(name)))
        except UnreadablePicture as error:
            return Pictured(name=str(Path(name)), problem=str(error))

    def find(self, name: str) -> Path:
        """The file of this name.

        Raises:
            UnreadablePicture: there is none, or it lies outside.
        """
        shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}..."
        if "://" in name:
            raise UnreadablePicture(ADDRESS.format(name=shown))
        parts = PureWindowsPath(name)  # understands both kinds of slash, and drive letters, on every system
        if ".." in parts.parts or (parts.drive and not Path(name).drive):
            raise UnreadablePicture(OUTSIDE.format(name=shown))
        try:
            found = next((folder / name for folder in self.folders if (folder / name).is_file()), None)
            if not self._inside(found or self.folders[0] / name):
                raise UnreadablePicture(OUTSIDE.format(name=shown))
        except (OSError, ValueError, RuntimeError) as error:  # names too long, zero bytes, links in a circle
            raise UnreadablePicture(MISSING.format(name=shown)) from error
        if found is None:
            raise UnreadablePicture(MISSING.format(name=shown))
        return found

    def _inside(self, path: Path) -> bool:
        """Whether it is really below the root, wherever links lead."""
        return path.resolve().is_relative_to(self.root.resolve())
