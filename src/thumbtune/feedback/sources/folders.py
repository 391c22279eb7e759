"""The plainest place to find likes: folders like/ and dislike/ at any depth, or a folder of images that are all so.

What names say like or dislike is in `walk`. The prompt of an image is the first of these that there is:

    a.txt, a.caption       beside a.png: the prompt alone, or all that Automatic1111 writes there, with seed and model
    metadata.jsonl, .csv   file_name and prompt, in the image's folder or any folder above it up to the root
    the image itself     what its maker wrote into it, with seed and model
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.metadata.png_text import read_parameters, written_in_file
from thumbtune.feedback.metadata.written import MAX_TEXT, NOTHING, Written
from thumbtune.feedback.reading.cells import IMAGE_COLUMNS, first, prompt_in
from thumbtune.feedback.reading.places import check_root
from thumbtune.feedback.reading.rows import METADATA_SUFFIXES, read_rows
from thumbtune.feedback.reading.texts import check_encoding, open_text
from thumbtune.feedback.reading.walk import (
    IMAGE_SUFFIXES,
    Seen,
    Walk,
    deep_opinion_folders,
    opinion_folders,
)
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.store.location import is_store

__all__ = ["IMAGE_SUFFIXES", "LikeFolders", "deep_opinion_folders", "nothing_here", "opinion_folders", "recognises"]

SIDECARS = (".txt", ".caption")
LISTS = ("metadata.csv", "metadata.jsonl")
BOTH = "it lies below folders that say like and folders that say dislike; move it to where only one does"


def recognises(path: Path) -> bool:
    """Whether this is a folder with like/ or dislike/ in it. One with them further down is none if it holds a table."""
    try:
        if not path.is_dir() or is_store(path):
            return False
        tables = any((path / f"metadata{suffix}").is_file() for suffix in METADATA_SUFFIXES)
        return bool(opinion_folders(path) or (not tables and deep_opinion_folders(path)))
    except ThumbtuneError:  # a store of likes among the images: it is such a folder, and says so when it is read
        return True
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, kw_only=True)
class Outside:
    """How many images lie outside the folders that say like or dislike, and so have no thumb."""

    images: int


class LikeFolders:
    """The images in `root/like`, `root/dislike` and the like; with a label for all that have none, all below `root`.

    Raises:
        UsageError: the root that links may lead into is no folder, or the encoding unknown.
        ThumbtuneError: nothing says like or dislike, or a store lies among the images.
    """

    def __init__(self, root: Path, reading: Reading = DEFAULT_READING) -> None:
        self.root = root
        self.reading = reading
        check_root(reading.root)
        if reading.encoding is not None:
            check_encoding(reading.encoding)
        self.folders = opinion_folders(root) or deep_opinion_folders(root)
        if not self.folders and reading.label is None:
            raise nothing_here(root)
        self._walk = Walk(root, reading.root)

    def __length_hint__(self) -> int:
        return sum(1 for _ in self._seen())

    def counts(self) -> Outside:
        """How many images are left out; it opens none of them."""
        return Outside(images=sum(1 for seen in self._walk if not (seen.is_folder or self._has_thumb(seen))))

    def __iter__(self) -> Iterator[SourceRow]:
        return self._founds(self._seen())

    def with_unrated(self) -> Iterator[SourceRow]:
        """The same, and the images outside these folders; with a limit, none of these."""
        return iter(self) if self.reading.limit is not None else self._founds(self._walk)

    def _founds(self, all_seen: Iterable[Seen]) -> Iterator[SourceRow]:
        lists = _Lists(self.root, self.reading.encoding, self._walk.leads_inside)
        return (self._found(seen, lists) for seen in all_seen)

    def _has_thumb(self, seen: Seen) -> bool:
        return bool(seen.said) or self.reading.label is not None

    def _seen(self) -> Iterator[Seen]:
        """What is liked or disliked. Folders that say nothing are left out, unless there is a label for them."""
        return islice(filter(self._has_thumb, self._walk), self.reading.limit)

    def _found(self, seen: Seen, lists: "_Lists") -> SourceRow:
        image, problem, said = None, seen.problem, NOTHING
        try:
            if not problem:
                said, image = self._written(seen.path, lists), partial(read_image, seen.path)
        except UnreadableImage as error:
            problem = str(error)
        liked = next(iter(seen.said)) if len(seen.said) == 1 else self.reading.label if not seen.said else None
        return SourceRow(
            where=_printable(str(seen.path.relative_to(self.root))),
            image=image,
            problem=problem or (BOTH if len(seen.said) > 1 else None),
            prompt=said.prompt,
            liked=liked,
            seed=said.seed,
            model=said.model,
            source=_printable(self.root.name) or None,
            unrated=not self._has_thumb(seen),
        )

    def _written(self, image: Path, lists: "_Lists") -> Written:
        """The prompt of an image, and what else is said where the prompt is.

        Raises:
            UnreadableImage: a text beside it cannot be read.
        """
        for suffix in SIDECARS:
            beside = self._beside(image.with_suffix(suffix))
            if beside.prompt:
                return beside
        listed = lists.prompt_of(image)
        return Written(prompt=listed) if listed else written_in_file(image)

    def _beside(self, file: Path) -> Written:
        """What a text beside an image says; nothing where there is none."""
        try:
            if not file.is_file():
                return NOTHING
            if not self._walk.leads_inside(file):
                raise UnreadableImage(f"its prompt in {_printable(file.name)} is a link out of the folder; copy it")
            with open_text(file, self.reading.encoding) as lines:
                text = lines.read(MAX_TEXT + 1)
        except (OSError, UnicodeError, ThumbtuneError) as error:
            if isinstance(error, UnreadableImage):
                raise
            what = (
                "could not be read; check it" if isinstance(error, OSError) else "is not UTF-8 text; save it as UTF-8"
            )
            raise UnreadableImage(f"its prompt in {_printable(file.name)} {what}") from error
        if len(text) > MAX_TEXT:
            raise UnreadableImage(f"its prompt in {_printable(file.name)} is longer than any prompt; shorten it")
        told = read_parameters(text)
        return told if told != NOTHING else Written(prompt=text.replace("\r\n", "\n").strip() or None)


@dataclass(frozen=True)
class _Lists:
    """The prompts in the metadata files of folders, each read when the first image below it is met."""

    root: Path
    encoding: str | None
    leads_inside: Callable[[Path], bool]
    _known: dict[Path, dict[Path, str]] = field(default_factory=dict)

    def prompt_of(self, image: Path) -> str | None:
        """The prompt of an image; the file nearest to it wins."""
        for folder in image.parents:
            prompt = self._listed_in(folder).get(image)
            if prompt or folder == self.root:
                return prompt
        return None

    def _listed_in(self, folder: Path) -> dict[Path, str]:
        if folder not in self._known:
            for left in [known for known in self._known if not folder.is_relative_to(known)]:
                del self._known[left]  # the walk will not come back to it
            self._known[folder] = {}
            for name in LISTS:
                if (folder / name).is_file() and self.leads_inside(folder / name):
                    self._known[folder] |= _prompts_of(folder / name, self.encoding)
        return self._known[folder]


def _prompts_of(file: Path, encoding: str | None) -> dict[Path, str]:
    rows = (row for _, row in read_rows(file, encoding=encoding) if row is not None)
    pairs = ((first(row, IMAGE_COLUMNS), prompt_in(row)) for row in rows)
    return {file.parent / name: prompt for name, prompt in pairs if isinstance(name, str) and prompt}


def _printable(name: str) -> str:
    """The name of a file as any terminal can show it: those from elsewhere may hold half characters."""
    return name.encode("utf-8", "replace").decode()


def nothing_here(path: Path) -> ThumbtuneError:
    """The sentence for a place without likes."""
    kinds = ", ".join(METADATA_SUFFIXES[:-1]) + f" or {METADATA_SUFFIXES[-1]}"
    return ThumbtuneError(
        f"{path} holds no like/ and dislike/ folders and no metadata{kinds}; put images into "
        f"{path / 'like'} and {path / 'dislike'}, or beside a metadata file with file_name, prompt and label; if you "
        "like all that is in it, say --label like.",
        code="source-empty",
    )
