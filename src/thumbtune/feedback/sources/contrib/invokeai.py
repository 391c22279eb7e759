"""Read likes from InvokeAI's database: starred images, and images on boards that are named like or dislike.

`walk` lists the names that mean like or dislike. The database is databases/invokeai.db, beside outputs/images, in
InvokeAI's folder; the path of that folder is accepted too.

An image with neither a star nor such a board has no label: it is counted and left out. If `reading` has a label for
such images, those that InvokeAI generated get it. Intermediate images, masks and control images are never read.
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
from thumbtune.feedback.metadata.image_files import parameters_in_file, read_invokeai
from thumbtune.feedback.metadata.parameters import Parameters, json_object, plain_text
from thumbtune.feedback.reading.image_roots import ImageRoot, check_root
from thumbtune.feedback.reading.vocabulary import label_of_folder
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.contrib.invokeai_rows import GalleryImage, gallery, has_gallery

DATABASES = ("databases/invokeai.db", "invokeai.db")
IMAGES = ("outputs/images", "images", ".")
SOURCE = "InvokeAI"
NOBODY = "system"  # the user of all images in versions without users
BOTH = "its star and its boards give both a like and a dislike; remove one in InvokeAI"
MISSING = "{folder} does not contain this file; give the folder of InvokeAI's images, as in --root images"


def recognises(path: Path) -> bool:
    """Return whether this is InvokeAI's database, or a folder that holds it. It never raises."""
    try:
        file = _database(path)
        return file is not None and has_gallery(file)
    except (OSError, ValueError, sqlite3.Error, ThumbtuneError):
        return False


@dataclass(frozen=True, kw_only=True)
class GalleryCounts:
    """The number of images of each label; `contradicted` ones have both, `unrated` ones neither."""

    likes: int = 0
    dislikes: int = 0
    contradicted: int = 0
    unrated: int = 0


class InvokeAI:
    """The images in InvokeAI's database that have a label, in order of name.

    Raises:
        UsageError: the root is no folder.
        ThumbtuneError: there is no such database.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        file = _database(path)
        if file is None:
            raise ThumbtuneError(
                f"{path} contains no {DATABASES[0]}; give InvokeAI's folder or its database.", code="invokeai-missing"
            )
        check_root(reading.root)
        self.file, self.reading = file, reading
        base = file.parent.parent if file.parent.name == "databases" else file.parent
        self._roots = [ImageRoot(folder / name) for folder in (reading.root or base,) for name in IMAGES]

    def counts(self) -> GalleryCounts:
        """Count the images of each label. It reads the database once, and no images."""
        names = {frozenset([True]): "likes", frozenset([False]): "dislikes", frozenset(): "unrated"}
        return GalleryCounts(
            **Counter(names.get(_labels_of(image), "contradicted") for image in gallery(self.file) if _own(image))
        )

    def __length_hint__(self) -> int:
        try:
            counts = self.counts()
        except ThumbtuneError:  # a hint: reading the rows raises the error
            return 0
        number = counts.likes + counts.dislikes + counts.contradicted
        number += 0 if self.reading.label is None else counts.unrated
        return number if self.reading.limit is None else min(number, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        images = filter(self._has_label, gallery(self.file))
        return map(self._row, islice(images, self.reading.limit))

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield the rows and the images without a label; with a limit, the rows alone."""
        return iter(self) if self.reading.limit is not None else map(self._row, gallery(self.file))

    def _has_label(self, image: GalleryImage) -> bool:
        return bool(_labels_of(image)) or (self.reading.label is not None and _own(image))

    def _row(self, image: GalleryImage) -> SourceRow:
        labels, unrated = _labels_of(image), not self._has_label(image)
        liked = next(iter(labels)) if len(labels) == 1 else None if labels or unrated else self.reading.label
        parameters, read, problem = read_invokeai(json_object(image.metadata)), None, BOTH if len(labels) > 1 else None
        try:
            file = self._file_of(image)
            read = partial(read_image, file)
            if not (parameters.prompt or problem):
                parameters = _completed(parameters, parameters_in_file(file))
        except UnreadableImage as error:
            problem = str(error)
        return SourceRow(
            where=f"{self.file.name}, {plain_text(image.name) or 'an image'}",
            image=read,
            prompt=parameters.prompt,
            liked=liked,
            problem=problem,
            rater=None if image.user in (None, NOBODY) else plain_text(image.user),
            seed=parameters.seed,
            model=parameters.model,
            syntax=parameters.syntax,
            source=SOURCE,
            unrated=unrated,
        )

    def _file_of(self, image: GalleryImage) -> Path:
        """Return the file of an image.

        Raises:
            UnreadableImage: it is missing, or its name leads out of the folder of images.
        """
        name = f"{image.subfolder}/{image.name}" if image.subfolder else image.name
        files = [root.path_of(name) for root in self._roots]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise UnreadableImage(MISSING.format(folder=self._roots[0].folder))
        return file


def _database(path: Path) -> Path | None:
    """Return the database: the file itself, or the one in a folder."""
    if path.is_file():
        return path
    return next((path / name for name in DATABASES if (path / name).is_file()), None)


def _own(image: GalleryImage) -> bool:
    """Return whether an image has a label or InvokeAI generated it; an upload is not a model's work."""
    return bool(_labels_of(image)) or image.category == "general"


def _labels_of(image: GalleryImage) -> frozenset[bool]:
    """Return the labels that the star and the boards of an image give it."""
    boards = {label_of_folder(board) for board in image.boards} - {None}
    return frozenset({True, *boards} if image.starred else boards)  # type: ignore[arg-type]


def _completed(parameters: Parameters, embedded: Parameters) -> Parameters:
    """Return the database's parameters, completed from those in the image file."""
    seed, model = parameters.seed or embedded.seed, parameters.model or embedded.model
    return Parameters(prompt=embedded.prompt, seed=seed, model=model, syntax=embedded.syntax)
