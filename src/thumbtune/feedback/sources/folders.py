"""Read likes from folders like/ and dislike/ at any depth, or from a folder whose images all get one label.

`walk` lists the names of folders that mean like or dislike. The prompt of an image is the first of these:

    a.txt, a.caption       beside a.png: the prompt, or the text that Automatic1111 writes, with seed and model
    metadata.jsonl, .csv   file_name and prompt, in the image's folder or any folder above it up to the root
    the image itself       the metadata that its generator wrote, with seed and model
    metadata.jsonl, .csv   the only row with this file name, if the image was moved from there into a folder
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from thumbtune.errors import ThumbtuneError, plural
from thumbtune.feedback.images import UnreadableImage, check_beginning, read_image
from thumbtune.feedback.metadata.image_files import parameters_in_file, read_text_file
from thumbtune.feedback.metadata.parameters import MAX_TEXT, NO_PARAMETERS, Parameters, plain_text, seed_in
from thumbtune.feedback.quoting import listed, named
from thumbtune.feedback.reading.cells import IMAGE_COLUMNS, first, prompt_in, syntax_in
from thumbtune.feedback.reading.clip_files import is_clip_file
from thumbtune.feedback.reading.image_roots import check_root
from thumbtune.feedback.reading.labels import mapping_of
from thumbtune.feedback.reading.own_words import OF_LABELS, check_meanings
from thumbtune.feedback.reading.rows import METADATA_SUFFIXES, read_rows
from thumbtune.feedback.reading.texts import check_encoding, open_text
from thumbtune.feedback.reading.vocabulary import (
    CERTAIN_WORDS,
    DISLIKE,
    LIKE,
    PAIRED_WORDS,
    label_of_phrase,
    labels_of_folders,
    nearest,
    plain,
)
from thumbtune.feedback.reading.walk import (
    IMAGE_SUFFIXES,
    Entry,
    Walk,
    deep_labelled_folders,
    labelled_folders,
)
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.store.location import is_store

__all__ = ["IMAGE_SUFFIXES", "LikeFolders", "deep_labelled_folders", "labelled_folders", "nothing_here", "recognises"]

SIDECARS = (".txt", ".caption")
LISTS = ("metadata.csv", "metadata.jsonl")
READ_ENDINGS = ".png, .jpg, .webp, .gif and .mp4"
MAX_LINES = 10  # folders that are named one by one
BOTH = "it lies below a like folder and a dislike folder; move it below one alone"


def recognises(path: Path) -> bool:
    """Return whether a folder holds like/ or dislike/, or has them further down and holds no table."""
    try:
        if not path.is_dir() or is_store(path):
            return False
        tables = any((path / f"metadata{suffix}").is_file() for suffix in METADATA_SUFFIXES)
        return bool(labelled_folders(path) or (not tables and deep_labelled_folders(path)))
    except ThumbtuneError:  # a store among the images: reading it raises the error
        return True
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, kw_only=True)
class UnlabelledImages:
    """The number of images outside the like and dislike folders, which have no label."""

    images: int


@dataclass(frozen=True)
class FolderNames:
    """The names of the folders whose images are liked, disliked and left out, each with its number of images.

    clips: of these images, the number of clips
    """

    liked: Counter[str] = field(default_factory=Counter)
    disliked: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    clips: Counter[str] = field(default_factory=Counter)


class LikeFolders:
    """The images in `root/like` and `root/dislike`; all images below `root`, if `reading` labels the others.

    Raises:
        UsageError: the root that links may lead into is no folder, or the encoding is unknown.
        ThumbtuneError: there are no labelled folders, or a store lies among the images.
    """

    def __init__(self, root: Path, reading: Reading = DEFAULT_READING) -> None:
        self.root = root
        self.reading = reading
        check_root(reading.root)
        if reading.encoding is not None:
            check_encoding(reading.encoding)
        check_meanings(reading.words.values(), OF_LABELS, "a folder")
        self.folders = labelled_folders(root, reading.words) or deep_labelled_folders(root, reading.words)
        if not self.folders and reading.label is None:
            raise nothing_here(root)
        self._walk = Walk(root, reading.root, reading.words)

    def __length_hint__(self) -> int:
        return sum(1 for _ in self._labelled())

    def counts(self) -> UnlabelledImages:
        """Count the images that are left out, without opening them."""
        left_out = (entry for entry in self._walk if not (entry.is_folder or self._has_label(entry)))
        return UnlabelledImages(images=sum(1 for _ in left_out))

    def described(self) -> list[str]:
        """Return which names of folders were read as likes and dislikes, and which were left out."""
        return [*self._empty(), *folders_read(self._names(), self.reading), *self._left_alone()]

    def _empty(self) -> list[str]:
        """Return a line on the folders with a label that hold no image or video; none if all hold one."""
        holding = {entry.path.parent for entry in self._walk if not entry.is_folder}
        full = holding.union(*(folder.parents for folder in holding))
        empty = [_printable(folder.name) for folder, _ in self.folders if folder not in full]
        return [f"{listed(empty)} {'holds' if len(empty) == 1 else 'hold'} no image; put some there."] if empty else []

    def _left_alone(self) -> list[str]:
        """Return a line on files with a label that no reader takes, by their endings; none if there are none."""
        found = Counter(entry.path.suffix.lower() for entry in self._walk.of_other_kinds() if self._has_label(entry))
        if not found:
            return []
        named = [f"{number:,} {_printable(ending) or 'without an ending'}" for ending, number in found.most_common()]
        shown = ", ".join(named[:MAX_LINES]) + (", ..." if len(named) > MAX_LINES else "")
        total = sum(found.values())
        return [
            f"left alone: {plural(total, 'file')} of other kinds ({shown}); images and videos are read, such as "
            f"{READ_ENDINGS}."
        ]

    def _names(self) -> FolderNames:
        names, of_folder = FolderNames(), dict[Path, str]()
        for entry in self._walk:
            folder = entry.path.parent
            if entry.is_folder or len(entry.labels) > 1 or (not entry.labels and folder == self.root):
                continue
            if folder not in of_folder:
                of_folder[folder] = _printable(self._labelled_name(folder) if entry.labels else folder.name)
            counts = names.left_out if not entry.labels else names.liked if True in entry.labels else names.disliked
            counts[of_folder[folder]] += 1
            names.clips[of_folder[folder]] += is_clip_file(entry.path)
        return names

    def _labelled_name(self, folder: Path) -> str:
        """Return the name of the folder that gives a folder its label."""
        above = [folder, *folder.parents]
        named = next((each.name for each in above if labels_of_folders([each.name], self.reading.words)), None)
        return named or next((each.name for each, _ in self.folders if each in above), folder.name)

    def __iter__(self) -> Iterator[SourceRow]:
        return self._rows(self._labelled())

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield the rows and the images outside the labelled folders; with a limit, the rows alone."""
        return iter(self) if self.reading.limit is not None else self._rows(self._walk)

    def _rows(self, entries: Iterable[Entry]) -> Iterator[SourceRow]:
        lists = _PromptLists(self.root, self.reading.encoding, self._walk.leads_inside)
        return (self._row(entry, lists) for entry in entries)

    def _has_label(self, entry: Entry) -> bool:
        return bool(entry.labels) or self.reading.label is not None

    def _labelled(self) -> Iterator[Entry]:
        """Return the entries with a label. Unlabelled folders are left out unless `reading` has a label for them."""
        return islice(filter(self._has_label, self._walk), self.reading.limit)

    def _row(self, entry: Entry, lists: "_PromptLists") -> SourceRow:
        image, problem, parameters = None, entry.problem, NO_PARAMETERS
        try:
            if not problem:
                parameters = self._parameters(entry.path, lists)
                if self._has_label(entry) and not parameters.prompt:  # to ask for its prompt would hide what it is
                    check_beginning(read_image(entry.path))
                image = partial(read_image, entry.path)
        except UnreadableImage as error:
            problem = str(error)
        liked = next(iter(entry.labels)) if len(entry.labels) == 1 else self.reading.label if not entry.labels else None
        return SourceRow(
            where=_printable(str(entry.path.relative_to(self.root))),
            image=image,
            problem=problem or (BOTH if len(entry.labels) > 1 else None),
            prompt=parameters.prompt,
            liked=liked,
            seed=parameters.seed,
            model=parameters.model,
            syntax=parameters.syntax,
            source=_printable(self.root.name) or None,
            unrated=not self._has_label(entry),
        )

    def _parameters(self, image: Path, lists: "_PromptLists") -> Parameters:
        """Return the prompt of an image, with the seed and model that stand beside it.

        Raises:
            UnreadableImage: a text file beside it cannot be read.
        """
        for suffix in SIDECARS:
            sidecar = self._sidecar(image.with_suffix(suffix))
            if sidecar.prompt:
                return sidecar
        listed = lists.row_of(image)
        if listed is not None:
            return listed
        inside = parameters_in_file(image)
        return inside if inside.prompt else lists.row_of_moved(image) or inside

    def _sidecar(self, file: Path) -> Parameters:
        """Return the parameters in a text file beside an image; none if there is no such file."""
        try:
            if not file.is_file():
                return NO_PARAMETERS
            if not self._walk.leads_inside(file):
                raise UnreadableImage(
                    f"its prompt in {_printable(file.name)} is a link to a file outside the folder; copy that file"
                )
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
            raise UnreadableImage(f"its prompt in {_printable(file.name)} is too long for a prompt; shorten it")
        return read_text_file(text)


@dataclass(frozen=True)
class _PromptLists:
    """The prompts in metadata files. A file is read when the first image below its folder is met."""

    root: Path
    encoding: str | None
    leads_inside: Callable[[Path], bool]
    _rows: dict[Path, dict[Path, Parameters]] = field(default_factory=dict)
    _names: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)

    def row_of(self, image: Path) -> Parameters | None:
        """Return the row of an image in the metadata file nearest to it, or None."""
        for folder in image.parents:
            row = self._listed_in(folder).get(image)
            if row or folder == self.root:
                return row
        return None

    def row_of_moved(self, image: Path) -> Parameters | None:
        """Return the row of an image that was sorted into a folder since it was listed, or None.

        It is the only row with this file name in the nearest metadata file above that has one, and its place is empty.
        """
        for folder in image.parents:
            files = self._files_by_name(folder).get(image.name)
            if files:
                return self._listed_in(folder)[files[0]] if len(files) == 1 and not files[0].exists() else None
            if folder == self.root:
                return None
        return None

    def _files_by_name(self, folder: Path) -> dict[str, list[Path]]:
        listed = self._listed_in(folder)
        if folder not in self._names:
            names = self._names[folder] = {}
            for file in listed:
                names.setdefault(file.name, []).append(file)
        return self._names[folder]

    def _listed_in(self, folder: Path) -> dict[Path, Parameters]:
        if folder not in self._rows:
            for left in [folder_before for folder_before in self._rows if not folder.is_relative_to(folder_before)]:
                del self._rows[left]  # the walk does not return to it
                self._names.pop(left, None)
            self._rows[folder] = {}
            for name in LISTS:
                if (folder / name).is_file() and self.leads_inside(folder / name):
                    self._rows[folder] |= _rows_of(folder / name, self.encoding)
        return self._rows[folder]


def _rows_of(file: Path, encoding: str | None) -> dict[Path, Parameters]:
    """Return the prompts of a list by their files, with seed and model; rows without a prompt are left out."""
    listed: dict[Path, Parameters] = {}
    for _, row in read_rows(file, encoding=encoding):
        name, prompt = (None, None) if row is None else (first(row, IMAGE_COLUMNS), prompt_in(row))
        if row is None or not isinstance(name, str) or not prompt:
            continue
        seed, model = seed_in(row.get("seed")), plain_text(row.get("model"))
        listed[file.parent / name] = Parameters(
            prompt=prompt, seed=seed, model=model, syntax=syntax_in(row, "prompt_syntax")
        )
    return listed


def _likeliest(names: Sequence[str]) -> str:
    """Return the name that is most like a word for a like, or the first."""
    return next((name for name in names if CERTAIN_WORDS.get(nearest(name) or "")), names[0])


def folders_read(names: FolderNames, reading: Reading) -> list[str]:
    """Return how the names of folders were read, in lines for people."""
    labelled = ((names.liked, LIKE), (names.disliked, DISLIKE))
    parts = [f"{_folders(each, names.clips)} as {label}" for each, label in labelled if each]
    if reading.label is not None:
        return [f"read: {', '.join([*parts, 'all other images as ' + (LIKE if reading.label else DISLIKE)])}."]
    rest = f"; not read: {_folders(names.left_out, names.clips)}" if names.left_out else ""
    lines = [f"read: {', '.join(parts) or 'no folder'}{rest}."]
    for name in names.left_out:
        near = nearest(name)
        if near is not None or label_of_phrase(name) is not None or plain(name) in PAIRED_WORDS:
            meaning = LIKE if (CERTAIN_WORDS[near] if near else label_of_phrase(name)) else DISLIKE
            hint = f"Did you mean {near}?" if near else "Its name may be an opinion."
            lines.append(
                f"The folder {named(name)} was not read. {hint} To read it: --map-label {mapping_of(name, meaning)}."
            )
    return lines[: MAX_LINES + 1]


def _folders(names: Counter[str], clips: Counter[str]) -> str:
    shown = ", ".join(f"{named(name)} ({_of(number, clips[name])})" for name, number in names.most_common(MAX_LINES))
    more = len(names) - MAX_LINES
    return f"{shown} and {plural(more, 'more folder')}" if more > 0 else shown


def _of(number: int, clips: int) -> str:
    """Return a number of images in words, if there are clips among them.

    >>> _of(2, 0), _of(2, 2), _of(2, 1)
    ('2 images', '2 clips', '2 images and clips')
    """
    if 0 < clips < number:
        return f"{number:,} images and clips"
    return plural(number, "clip" if clips else "image")


def _printable(name: str) -> str:
    """Return a file name that any terminal can show: names from other systems may hold half characters."""
    return name.encode("utf-8", "replace").decode()


def nothing_here(path: Path) -> ThumbtuneError:
    """Return the error for a folder without likes."""
    kinds = ", ".join(METADATA_SUFFIXES[:-1]) + f" or {METADATA_SUFFIXES[-1]}"
    names = [each.name for each in sorted(path.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    if names:
        there = listed([_printable(name) for name in names])
        return ThumbtuneError(
            f"{path} contains no folders named like or dislike and no metadata{kinds}; its folders are {there}. Give "
            f"the meaning of their names, as in --map-label {mapping_of(_likeliest(names))}, or use --label like if "
            "you like all its images.",
            code="source-empty",
        )
    return ThumbtuneError(
        f"{path} contains no like/ and dislike/ folders and no metadata{kinds}; put images into "
        f"{path / 'like'} and {path / 'dislike'}, or beside a metadata file with file_name, prompt and label; if "
        "you like all its images, use --label like.",
        code="source-empty",
    )
