"""Where the images of Label Studio's tasks are: uploaded to it, on its disk, on the web, or in the task itself.

/data/upload/12/3f2a1b4c-fox.png       a copy of its media/upload below the root, or the image as it was before,
                                       fox.png, if no other upload was called so
/data/local-files/?d=foxes/fox.png     foxes/fox.png below the root, which is Label Studio's document root
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.reading.image_cells import image_in, is_image
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES
from thumbtune.feedback.shown import shown
from thumbtune.feedback.source import Bytes

UPLOADED, LOCAL = "/data/upload/", "/data/local-files"
LOST = "there is no {name}; copy Label Studio's media folder there, or give the one that holds it, as in --root media"

_PREFIX = re.compile(r"[0-9a-f]{6,8}-(?=.)")  # what Label Studio puts before the name of an upload


def uploaded_name(cell: object) -> str | None:
    """The name of an upload below its media/upload; None for what is none."""
    if not isinstance(cell, str) or UPLOADED not in cell:
        return None
    try:
        return unquote(urlsplit(cell.strip()).path.partition(UPLOADED)[2]) or None
    except ValueError:  # no address
        return None


def may_show(cell: object) -> bool:
    """Whether a cell of a task holds an image or names one, as far as its ending tells."""
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
    """The images of one export. `cells` goes through all cells of all its tasks."""

    def __init__(self, place: ImageRoot, cells: Callable[[], Iterable[object]]) -> None:
        self.place = place
        self._cells = cells

    def here(self, cell: object) -> Bytes:
        """An image that is here, on the disk or in the task.

        Raises:
            UnreadableImage: it is not, or leads out of the folder.
        """
        name = uploaded_name(cell)
        names = list(self._names_of(name)) if name else [local] if (local := _local_name(cell)) else []
        if not names:
            return image_in(cell, self.place)
        paths = [self.place.path_of(each) for each in names]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise UnreadableImage(LOST.format(name=shown(names[0])))
        return partial(read_image, found)

    def anywhere(self, cell: object, allow_download: bool) -> Bytes:
        """An image that is here, or else on the web if that is allowed.

        Raises:
            UnreadableImage: it is neither.
        """
        try:
            return self.here(cell)
        except UnreadableImage:
            # An upload's address is one of a server that asks for a password; the sentence about the file helps more.
            if not allow_download or uploaded_name(cell) or _local_name(cell):
                raise
            return image_in(cell, self.place, allow_download)

    def _names_of(self, name: str) -> Iterator[str]:
        """Under which names the file of an upload may lie."""
        base = PurePosixPath(name).name
        yield from (name, base, f"upload/{name}", f"media/upload/{name}", f"images/{base}")
        before = _PREFIX.sub("", base, count=1)
        if before != base and before not in self._doubled:
            yield before

    @cached_property
    def _doubled(self) -> set[str]:
        """The names before their upload that several files had: nobody can tell which of them lies here."""
        first: dict[str, str] = {}
        doubled = set[str]()
        for cell in self._cells():
            if (name := uploaded_name(cell)) is not None:
                before = _PREFIX.sub("", PurePosixPath(name).name, count=1)
                if first.setdefault(before, name) != name:
                    doubled.add(before)
        return doubled


def _local_name(cell: object) -> str | None:
    """The name of a file on Label Studio's disk, below its document root; None for what is none."""
    if not isinstance(cell, str) or LOCAL not in cell:
        return None
    try:
        address = urlsplit(cell.strip())
        names = parse_qs(address.query).get("d") if address.path.rstrip("/").endswith(LOCAL) else None
    except ValueError:
        return None
    return names[0].lstrip("/") or None if names else None
