"""Images in folders whose names say like or dislike, at any depth, in the same order each time."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.location import is_store

LIKE_FOLDERS = frozenset(
    """like likes liked good pos positive up upvote upvotes upvoted thumbup thumbsup
    favorite favorites favourite favourites fav favs faves starred""".split()
)
DISLIKE_FOLDERS = frozenset(
    """dislike dislikes disliked bad neg negative down downvote downvotes downvoted thumbdown thumbsdown
    reject rejects rejected""".split()
)
# All that somebody would call an image is tried, so that one we cannot read is listed, not passed over.
IMAGE_SUFFIXES = frozenset(
    """.png .apng .jpg .jpeg .jfif .webp .gif .bmp .tif .tiff .heic .heif .avif .jxl .jp2
    .svg .psd .tga .ico .ppm .exr .hdr .dng .cr2 .nef .arw""".split()
)
# Small copies, several images in one, and what archives of one system leave on others.
OTHER_FOLDERS = frozenset(("thumbnails", "txt2img-grids", "img2img-grids", "__macosx"))
LEADS_OUT = (
    "it is a link that leads out of the folder; copy the image there, "
    "or give the folder that the link leads into, as in --root images"
)

_BETWEEN_WORDS = re.compile(r"[\s_-]+")  # "Thumbs up", thumbs_up


def opinion_in(name: str) -> bool | None:
    """What the name of a folder says, in any case: like, dislike, or nothing."""
    word = _BETWEEN_WORDS.sub("", name).lower()
    return True if word in LIKE_FOLDERS else False if word in DISLIKE_FOLDERS else None


def opinion_folders(root: Path) -> list[tuple[Path, bool]]:
    """The subfolders of `root` whose names say like or dislike, in order of name.

    A store of likes, by default in `likes`, is none of them: its images are liked and disliked ones.

    Raises:
        ThumbtuneError: a store lies among images, so that nobody can say what is meant.
    """
    subfolders = ((folder, opinion_in(folder.name)) for folder in sorted(root.iterdir()) if folder.is_dir())
    named = [(folder, liked) for folder, liked in subfolders if liked is not None]
    for folder, _ in named:
        if _is_store(folder) and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
            raise ThumbtuneError(
                f"{folder} is a store of likes with other images beside it; move those elsewhere.",
                code="folders-hold-store",
            )
    return [(folder, liked) for folder, liked in named if not _is_store(folder)]


def _is_store(folder: Path) -> bool:
    """Whether it is a store; one that nobody may look into is a folder like others, and is listed as such."""
    try:
        return is_store(folder)
    except (OSError, ThumbtuneError):
        return False


def deep_opinion_folders(root: Path) -> list[tuple[Path, bool]]:
    """The same at any depth, as in 2025-06-30/like; below one that is found there is no looking for more."""
    found: list[tuple[Path, bool]] = []
    for folder, subfolders, _ in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        named = [(Path(folder, name), liked) for name in subfolders if (liked := opinion_in(name)) is not None]
        found += [(path, liked) for path, liked in named if not _is_store(path)]
        opinions = {path.name for path, _ in named}
        subfolders[:] = [name for name in subfolders if name not in opinions and not _is_store(Path(folder, name))]
    return found


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An image's file or a folder; `said` is what names on the way to it say, `problem` why it cannot be used."""

    path: Path
    said: frozenset[bool] = frozenset()
    is_folder: bool = False
    problem: str | None = None


class Walk:
    """The images below `root`, and folders that cannot be read.

    Left out are what is hidden, stores of likes, and folders that makers of images fill by themselves. Links may lead
    anywhere below the root or `also`; each folder is gone through once for what names say of it.
    """

    def __init__(self, root: Path, also: Path | None = None) -> None:
        self.root = root
        self._allowed = [folder.resolve() for folder in (root, also) if folder is not None]

    def __iter__(self) -> Iterator[Seen]:
        been: set[tuple[Path, frozenset[bool]]] = set()
        todo = [Seen(path=self.root, is_folder=True)]
        while todo:
            folder = todo.pop()
            here = (folder.path.resolve(), folder.said)
            if here in been:
                continue
            been.add(here)
            deeper = []
            for seen in self._in(folder):
                if seen.is_folder and not seen.problem:
                    deeper.append(seen)
                else:
                    yield seen
            todo += reversed(deeper)

    def leads_inside(self, path: Path) -> bool:
        """Whether a path, wherever links in it lead, is one that may be read."""
        try:
            return any(path.resolve().is_relative_to(folder) for folder in self._allowed)
        except (OSError, RuntimeError):  # a circle of links
            return False

    def _in(self, folder: Seen) -> Iterator[Seen]:
        """The images and folders in a folder, in order of name; itself, where it cannot be read."""
        try:
            entries = _entries_of(folder.path)
        except OSError as error:
            why = f"it could not be read ({error.strerror or error}); check the folder"
            yield replace(folder, problem=why)
            return
        for entry in entries:
            path, is_folder = Path(entry.path), _is_folder(entry)
            if entry.name.lower() in OTHER_FOLDERS if is_folder else path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            problem = LEADS_OUT if entry.is_symlink() and not self.leads_inside(path) else None
            liked = opinion_in(entry.name) if is_folder else None
            said = folder.said if liked is None else folder.said | {liked}
            yield Seen(path=path, said=said, is_folder=is_folder, problem=problem)


def _entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, in order of name; nothing where it is a store.

    Raises:
        OSError: it cannot be read.
    """
    if _is_store(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False
