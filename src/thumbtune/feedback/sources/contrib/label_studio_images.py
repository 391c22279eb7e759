"""Find the images of Label Studio's tasks: uploaded, on its disk, on the web, or in the task itself.

/data/upload/12/3f2a1b4c-fox.png       a copy of its media/upload below the root, or the image as it was before,
                                       fox.png, if no other upload had this name
/data/local-files/?d=foxes/fox.png     foxes/fox.png below the root, which is Label Studio's document root
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading.image_cells import image_in, is_image
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES
from thumbtune.feedback.source import Bytes

UPLOADED, LOCAL = "/data/upload/", "/data/local-files"
LOST = (
    "the file {name} does not exist; copy Label Studio's media folder there, or give the folder that contains "
    "it, as in --root media"
)

_PREFIX = re.compile(r"[0-9a-f]{6,8}-(?=.)")  # Label Studio adds it to the name of an upload


def uploaded_name(cell: object) -> str | None:
    """Return the name of an upload below media/upload; None for any other cell."""
    if not isinstance(cell, str) or UPLOADED not in cell:
        return None
    try:
        return unquote(urlsplit(cell.strip()).path.partition(UPLOADED)[2]) or None
    except ValueError:  # no address
        return None


def may_show(cell: object) -> bool:
    """Return whether a cell of a task holds an image, or names one by its suffix."""
    if is_image(cell):
        return True
    if not isinstance(cell, str):
        return False
    try:
        path = _local_name(cell) or urlsplit(cell.strip()).path
    except ValueError:
        return False
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


class TaskImages:
    """The images of one export. `cells` yields all cells of all its tasks."""

    def __init__(self, place: ImageRoot, cells: Callable[[], Iterable[object]]) -> None:
        self.place = place
        self._cells = cells

    def here(self, cell: object) -> Bytes:
        """Return a function that reads an image on this disk or in the task.

        Raises:
            UnreadableImage: it is on neither, or its name leads out of the folder.
        """
        name = uploaded_name(cell)
        names = list(self._names_of(name)) if name else [local] if (local := _local_name(cell)) else []
        if not names:
            return image_in(cell, self.place)
        file = next((path for each in names if (path := self.place.path_of(each)).is_file()), None)
        if file is None:
            raise UnreadableImage(LOST.format(name=shown(names[0])))
        return partial(read_image, file)

    def anywhere(self, cell: object, allow_download: bool) -> Bytes:
        """Return a function that reads an image on this disk, in the task, or on the web if that is allowed.

        Raises:
            UnreadableImage: it is on none of them.
        """
        try:
            return self.here(cell)
        except UnreadableImage:
            # The address of an upload needs a password, so the problem with the file is reported instead.
            if not allow_download or uploaded_name(cell) or _local_name(cell):
                raise
            return image_in(cell, self.place, allow_download)

    def _names_of(self, name: str) -> Iterator[str]:
        """Yield the names that the file of an upload may have."""
        base = PurePosixPath(name).name
        yield from (name, base, f"upload/{name}", f"media/upload/{name}", f"images/{base}")
        before = _PREFIX.sub("", base, count=1)
        if before != base and before not in self._doubled:
            yield before

    @cached_property
    def _doubled(self) -> set[str]:
        """The names that several files had before their upload: which of them lies here is unknown."""
        first: dict[str, str] = {}
        doubled = set[str]()
        for cell in self._cells():
            if (name := uploaded_name(cell)) is not None:
                before = _PREFIX.sub("", PurePosixPath(name).name, count=1)
                if first.setdefault(before, name) != name:
                    doubled.add(before)
        return doubled


def _local_name(cell: object) -> str | None:
    """Return the name of a file below Label Studio's document root; None for any other cell."""
    if not isinstance(cell, str) or LOCAL not in cell:
        return None
    try:
        address = urlsplit(cell.strip())
        names = parse_qs(address.query).get("d") if address.path.rstrip("/").endswith(LOCAL) else None
    except ValueError:
        return None
    return names[0].lstrip("/") or None if names else None
