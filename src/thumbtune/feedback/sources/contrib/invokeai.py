"""InvokeAI's own database, read as it lies there: what is starred is liked, and what lies on a board named so.

A board whose name says like or dislike, as those of folders do (`walk.py`), counts like a star. The database is
databases/invokeai.db, beside outputs/images, in the folder that InvokeAI was told to use; that folder will do.

What has neither a star nor such a board has no thumb, and is counted and left out; with a label for all that have
none, it gets that one if InvokeAI made it. What it hides as a step on the way, masks and control images are none.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.metadata.png_text import read_invokeai, written_in_file
from thumbtune.feedback.metadata.written import Written, json_object, plain_text
from thumbtune.feedback.reading.places import Place, check_root
from thumbtune.feedback.reading.walk import opinion_in
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.contrib.invokeai_rows import Kept, gallery, has_gallery

DATABASES = ("databases/invokeai.db", "invokeai.db")
IMAGES = ("outputs/images", "images", ".")
SOURCE = "InvokeAI"
NOBODY = "system"  # whose images are whose it does not know before it has users
BOTH = "it says like and dislike, by a star or a board; take one away in InvokeAI"
MISSING = "there is no such file below {folder}; give the folder that holds InvokeAI's images, as in --root images"


def recognises(path: Path) -> bool:
    """Whether this is InvokeAI's database, or a folder that holds it. It never raises."""
    try:
        file = _database(path)
        return file is not None and has_gallery(file)
    except (OSError, ValueError, sqlite3.Error, ThumbtuneError):
        return False


@dataclass(frozen=True, kw_only=True)
class Marks:
    """How many images are marked as what; `contradicted` both, `unmarked` neither."""

    likes: int = 0
    dislikes: int = 0
    contradicted: int = 0
    unmarked: int = 0


class InvokeAI:
    """The images in InvokeAI's database that have a thumb, by name.

    Raises:
        UsageError: the root given is no folder.
        ThumbtuneError: there is no such database.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        file = _database(path)
        if file is None:
            raise ThumbtuneError(
                f"{path} holds no {DATABASES[0]}; give InvokeAI's folder or its database.", code="invokeai-missing"
            )
        check_root(reading.root)
        self.file, self.reading = file, reading
        base = file.parent.parent if file.parent.name == "databases" else file.parent
        self._places = [Place(folder / name) for folder in (reading.root or base,) for name in IMAGES]

    def counts(self) -> Marks:
        """How many images are marked as what; it reads the database once, and no images."""
        names = {frozenset([True]): "likes", frozenset([False]): "dislikes", frozenset(): "unmarked"}
        return Marks(**Counter(names.get(_said_of(kept), "contradicted") for kept in gallery(self.file) if _own(kept)))

    def __length_hint__(self) -> int:
        try:
            marks = self.counts()
        except ThumbtuneError:  # a hint: what cannot be read fails later, in words
            return 0
        number = marks.likes + marks.dislikes + marks.contradicted
        number += 0 if self.reading.label is None else marks.unmarked
        return number if self.reading.limit is None else min(number, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        kept = (one for one in gallery(self.file) if self._has_thumb(one))
        return (self._found(one) for one in islice(kept, self.reading.limit))

    def with_unrated(self) -> Iterator[SourceRow]:
        """The same, and images that have neither a star nor a board; with a limit, none of these."""
        return iter(self) if self.reading.limit is not None else map(self._found, gallery(self.file))

    def _has_thumb(self, kept: Kept) -> bool:
        return bool(_said_of(kept)) or (self.reading.label is not None and _own(kept))

    def _found(self, kept: Kept) -> SourceRow:
        said, unrated = _said_of(kept), not self._has_thumb(kept)
        liked = next(iter(said)) if len(said) == 1 else None if said or unrated else self.reading.label
        written, image, problem = read_invokeai(json_object(kept.metadata)), None, BOTH if len(said) > 1 else None
        try:
            file = self._file_of(kept)
            image = partial(read_image, file)
            written = written if written.prompt or problem else _with(written, written_in_file(file))
        except UnreadableImage as error:
            problem = str(error)
        return SourceRow(
            where=f"{self.file.name}, {plain_text(kept.name) or 'an image'}",
            image=image,
            prompt=written.prompt,
            liked=liked,
            problem=problem,
            rater=None if kept.user in (None, NOBODY) else plain_text(kept.user),
            seed=written.seed,
            model=written.model,
            source=SOURCE,
            unrated=unrated,
        )

    def _file_of(self, kept: Kept) -> Path:
        """The file of an image.

        Raises:
            UnreadableImage: there is none, or its name leads out of the folder of images.
        """
        name = f"{kept.subfolder}/{kept.name}" if kept.subfolder else kept.name
        files = [place.path_of(name) for place in self._places]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise UnreadableImage(MISSING.format(folder=self._places[0].folder))
        return found


def _database(path: Path) -> Path | None:
    """The file itself, or the one in a folder."""
    if path.is_file():
        return path
    return next((path / name for name in DATABASES if (path / name).is_file()), None)


def _own(kept: Kept) -> bool:
    """Whether InvokeAI made it: what was uploaded is no work of a model that is to learn from it."""
    return bool(_said_of(kept)) or kept.category == "general"


def _said_of(kept: Kept) -> frozenset[bool]:
    """What the star and the boards of an image say."""
    boards = {opinion_in(board) for board in kept.boards} - {None}
    return frozenset({True, *boards} if kept.starred else boards)  # type: ignore[arg-type]


def _with(written: Written, own: Written) -> Written:
    """What the database says, and where it is silent what the image does."""
    return Written(prompt=own.prompt, seed=written.seed or own.seed, model=written.model or own.model)
