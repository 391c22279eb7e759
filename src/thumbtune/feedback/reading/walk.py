"""Find images in folders that are named like or dislike, at any depth, in the same order each time."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading.vocabulary import labels_of_folders
from thumbtune.feedback.store.location import is_store
from thumbtune.videos import OTHER_SUFFIXES, SUFFIXES

# Files of unsupported kinds are tried too, so that the import lists them instead of passing over them.
IMAGE_SUFFIXES = frozenset(
    """.png .apng .jpg .jpeg .jfif .webp .gif .bmp .tif .tiff .heic .heif .avif .jxl .jp2
    .svg .psd .tga .ico .ppm .exr .hdr .dng .cr2 .nef .arw""".split()
) | frozenset((*SUFFIXES, *OTHER_SUFFIXES))
# Text, tables and settings that lie beside images, and what systems and caches add.
COMPANIONS = frozenset(
    """.txt .caption .csv .tsv .json .jsonl .ndjson .parquet .md .yaml .yml .toml .xml .xmp .html .ini .db .url .lnk
    .log .npy .npz .pt .safetensors .sha256""".split()
)
# Folders of thumbnails, of grids of several images, and of files that macOS adds to archives.
OTHER_FOLDERS = frozenset(("thumbnails", "txt2img-grids", "img2img-grids", "__macosx"))
LEADS_OUT = (
    "it is a link to a file outside the folder; copy the image there, "
    "or give the folder that the link leads into, as in --root images"
)

Words = Mapping[str, str]  # labels in words of one's own, and their meaning
NO_WORDS: Words = {}


def labelled_folders(root: Path, words: Words = NO_WORDS) -> list[tuple[Path, bool]]:
    """Return the subfolders of `root` that are named like or dislike, each with its label, in order of name.

    `vocabulary` lists the names, and `words` those of one's own. A store, by default the folder `likes`, is left out:
    it holds liked and disliked images.

    Raises:
        ThumbtuneError: such a subfolder is a store and also holds other images.
    """
    subfolders = [folder for folder in sorted(root.iterdir()) if folder.is_dir()]
    labels = labels_of_folders([folder.name for folder in subfolders], words)
    named = [(folder, labels[folder.name]) for folder in subfolders if folder.name in labels]
    for folder, _ in named:
        if _is_store(folder) and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
            raise ThumbtuneError(
                f"{folder} is a store of likes and also contains other images; move those images elsewhere.",
                code="folders-hold-store",
            )
    return [(folder, liked) for folder, liked in named if not _is_store(folder)]


def _is_store(folder: Path) -> bool:
    """Return whether a folder is a store. A folder that cannot be read is not, so that the import lists it."""
    try:
        return is_store(folder)
    except (OSError, ThumbtuneError):
        return False


def deep_labelled_folders(root: Path, words: Words = NO_WORDS) -> list[tuple[Path, bool]]:
    """Return the labelled folders at any depth, as in 2025-06-30/like, without those inside another one."""
    labelled: list[tuple[Path, bool]] = []
    for folder, subfolders, _ in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        labels = labels_of_folders(subfolders, words)
        named = [(Path(folder, name), labels[name]) for name in subfolders if name in labels]
        labelled += [(path, liked) for path, liked in named if not _is_store(path)]
        names = {path.name for path, _ in named}
        subfolders[:] = [name for name in subfolders if name not in names and not _is_store(Path(folder, name))]
    return labelled


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image file or a folder.

    labels:  the labels of the folders above it; two labels contradict each other
    problem: why it cannot be used
    """

    path: Path
    labels: frozenset[bool] = frozenset()
    is_folder: bool = False
    problem: str | None = None


class Walk:
    """The images below `root`, and the folders that cannot be read.

    Hidden files, stores, and folders that image generators fill with copies are left out. Links may lead anywhere below
    `root` or `also`. Each folder is read once for each set of labels on the way to it.
    """

    def __init__(self, root: Path, also: Path | None = None, words: Words = NO_WORDS) -> None:
        self.root, self.words = root, words
        self._allowed = [folder.resolve() for folder in (root, also) if folder is not None]

    def __iter__(self) -> Iterator[Entry]:
        return self._entries(is_image_name)

    def of_other_kinds(self) -> Iterator[Entry]:
        """Yield the files that no reader takes, by their endings, without those that lie beside images."""
        return (entry for entry in self._entries(is_of_another_kind) if not entry.is_folder and not entry.problem)

    def _entries(self, wanted: Callable[[Path], bool]) -> Iterator[Entry]:
        visited: set[tuple[Path, frozenset[bool]]] = set()
        todo = [Entry(path=self.root, is_folder=True)]
        while todo:
            folder = todo.pop()
            here = (folder.path.resolve(), folder.labels)
            if here in visited:
                continue
            visited.add(here)
            deeper = []
            for entry in self._in(folder, wanted):
                if entry.is_folder and not entry.problem:
                    deeper.append(entry)
                else:
                    yield entry
            todo += reversed(deeper)

    def leads_inside(self, path: Path) -> bool:
        """Return whether a path, with its links followed, lies in a folder that may be read."""
        try:
            return any(path.resolve().is_relative_to(folder) for folder in self._allowed)
        except (OSError, RuntimeError):  # a circle of links
            return False

    def _in(self, folder: Entry, wanted: Callable[[Path], bool]) -> Iterator[Entry]:
        """Yield the wanted files and folders in a folder, in order of name; or the folder itself, if it is unreadable.

        wanted: tells it of a file by its name
        """
        try:
            entries = _entries_of(folder.path)
        except OSError as error:
            why = f"it could not be read ({error.strerror or error}); check the folder"
            yield replace(folder, problem=why)
            return
        folders = {entry.name for entry in entries if _is_folder(entry)}
        folder_labels = labels_of_folders(sorted(folders), self.words)
        for entry in entries:
            path, is_folder = Path(entry.path), entry.name in folders
            if entry.name.lower() in OTHER_FOLDERS if is_folder else not wanted(path):
                continue
            problem = LEADS_OUT if entry.is_symlink() and not self.leads_inside(path) else None
            liked = folder_labels.get(entry.name)
            labels = folder.labels if liked is None else folder.labels | {liked}
            yield Entry(path=path, labels=labels, is_folder=is_folder, problem=problem)


def is_image_name(path: Path) -> bool:
    """Return whether a file may be an image or a clip, by its ending."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_of_another_kind(path: Path) -> bool:
    """Return whether a file is neither an image nor one of those that lie beside images, by its ending."""
    return path.suffix.lower() not in IMAGE_SUFFIXES | COMPANIONS


def _entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, in order of name; none for a store.

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
