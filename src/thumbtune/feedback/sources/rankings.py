"""Read rankings: several images of a prompt in a row, with a rank, a preference or a rating for each.

    images      generations (ImageReward), image_path and file_path (HPD v2), images, image_paths
    ranks         ranking (ImageReward), rank (HPD v2's test.json), ranks: 1 is the best, equal ones tie
    preferences   human_preference (HPD v2's train.json), preferences: 1 for the better, 0 for the other
    ratings       ratings, rating, scores: a higher one is better; likes from `like_at` up, if it is given

Every two images of a row with different ranks are a comparison; the policy decides the labels. Ratings are compared
like ranks, unless `like_at` is given: then each image is labelled by its own rating.
"""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.quoting import named
from thumbtune.feedback.reading.cells import prompt_in, text_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns
from thumbtune.feedback.reading.content import may_be_image
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.labels import number_of
from thumbtune.feedback.reading.ratings import Ratings
from thumbtune.feedback.reading.rows import Record, first_row, read_rows
from thumbtune.feedback.reading.splits import parquet_files
from thumbtune.feedback.reading.texts import GZIP
from thumbtune.feedback.sources.comparison_table import ComparisonTable
from thumbtune.feedback.sources.judgements import (
    ComparedImage,
    Judgement,
    compared_image,
)

RANK_COLUMNS = {  # the first one that is filled counts
    "ranks": ("ranks", "rank", "ranking"),
    "preferences": ("preferences", "human_preference"),
    "ratings": ("ratings", "rating", "scores"),
}
RANKING_COLUMNS = {
    "images": ("images", "generations", "image_path", "image_paths", "file_path", "file_paths"),
    **RANK_COLUMNS,
    **{key: COLUMNS[key] for key in ("prompt", "rater", "model", "source", "created_at")},
}
MAX_IMAGES_PER_ROW = 100  # they make 4,950 comparisons
NO_IMAGES = "it lists no images; list two or more, or remove the row"
ALONE = "it lists only one image; list two or more, or remove the row"
TOO_MANY = "it ranks {number} images at once, and the limit is {most}; split the row"
NO_RANKS = "it has neither ranks, preferences nor ratings; fill one in or remove the row"
UNEVEN = "it has {number} images and {items} of {what}; correct or remove the row"
NO_NUMBER = "its {what} contains {cell!r}, which is not a number; correct or remove the row"


def recognises(path: Path) -> bool:
    """Return whether this is a table of rankings, by its first row. It never raises."""
    ours = Columns({}, RANKING_COLUMNS).ours_in(first_row((parquet_files(path) or [path])[0]) or {})
    images = _list(ours["images"])
    ranks = _list(next((ours[key] for key in RANK_COLUMNS if ours[key] is not None), None))
    return bool(images) and len(images) == len(ranks) and all(may_be_image(cell) for cell in images)


class Rankings(ComparisonTable):
    """A table of rankings, or a folder with the Parquet files of one split of them.

    Its images lie beside it, in folders there, or in a folder with its own name, as HPD v2's do (test.json, test/).

    Raises:
        UsageError: an option in `reading` is invalid, or names a column that the table lacks.
        ThumbtuneError: a file cannot be read, or no split is named.
    """

    column_names = RANKING_COLUMNS

    def described(self) -> list[str]:
        """Return which column was read as what, and what is unusual of `like_at`. It reads all ratings once."""
        lines, ratings, name = super().described(), Ratings(), "ratings"
        if self.reading.like_at is None:
            return lines
        with suppress(ThumbtuneError):  # reading the rows raised it before
            for file in self.files:
                for _, row in read_rows(file, encoding=self.reading.encoding):
                    filled = self.columns.filled_in(row or {}, "ratings")
                    name = filled[0][0] if filled else name
                    for cell in _list(filled[0][1]) if filled else ():
                        if (number := number_of(cell)) is not None:
                            ratings.add(number)
        note = ratings.note(self.reading.like_at)
        return lines + ([] if note is None else [f"{named(name)}: {note}"])

    def _root_of(self, file: Path) -> ImageRoot:
        return ImageRoot(file.parent, self.reading.root, inner=_name_of(file), survey=self._survey)

    def _judgement_in(self, row: Record, where: str, file: Path, place: ImageRoot) -> Judgement:
        """Return the judgement in a row."""
        ours = self.columns.ours_in(row)
        images = self._images(ours, place)
        labels = self._labels(row, len(images))
        details, cells = self._details.read(ours, "created_at")
        return Judgement(
            where=where,
            prompt=prompt_in(ours),
            images=images,
            ranks=() if labels else self._ranks(row, len(images)),
            labels=labels,
            rater=text_in(ours, "rater"),
            source=text_in(ours, "source") or file.name,
            cells_left_out=cells,
            **details,  # type: ignore[arg-type]
        )

    def _images(self, ours: Record, place: ImageRoot) -> tuple[ComparedImage, ...]:
        """Return the images of a row.

        Raises:
            UnreadableImage: one has no name.
            ValueError: there are none, or more than `MAX_IMAGES_PER_ROW`.
        """
        cells = _list(ours["images"])
        if not cells:
            raise ValueError(NO_IMAGES)
        if len(cells) > MAX_IMAGES_PER_ROW:
            raise ValueError(TOO_MANY.format(number=len(cells), most=MAX_IMAGES_PER_ROW))
        model, download = text_in(ours, "model"), self.reading.allow_download
        return tuple(
            replace(compared_image(cell, f"image {number}", place, download), model=model)
            for number, cell in enumerate(cells, start=1)
        )

    def _labels(self, row: Record, number: int) -> tuple[bool, ...]:
        """Return the label of each image by its rating; nothing without `like_at`.

        Raises:
            ValueError: a rating is no number, or there is not one per image.
        """
        like_at = self.reading.like_at
        if like_at is None:
            return ()
        return tuple(rating >= like_at for rating in _numbers(self.columns.filled_in(row, "ratings"), number))

    def _ranks(self, row: Record, number: int) -> tuple[float, ...]:
        """Return the rank of each image; a lower rank is better.

        Raises:
            ValueError: there are no ranks, or not one per image.
        """
        if number == 1:
            raise ValueError(ALONE)
        key = next((key for key in RANK_COLUMNS if self.columns.filled_in(row, key)), None)
        if key is None:
            raise ValueError(NO_RANKS)
        numbers = _numbers(self.columns.filled_in(row, key), number)
        return numbers if key == "ranks" else tuple(-score for score in numbers)


def _name_of(file: Path) -> str:
    return Path(file.name.removesuffix(GZIP)).stem


def _numbers(filled: Sequence[tuple[str, object]], number: int) -> tuple[float, ...]:
    """Return the numbers in the first filled column, one per image; nothing if none is filled.

    Raises:
        ValueError: a cell is no number, or there is not one per image.
    """
    if not filled:
        return ()
    name, cell = filled[0]
    items = _list(cell)
    if len(items) != number:
        raise ValueError(UNEVEN.format(number=number, items=len(items), what=name))
    return tuple(_number(each, name) for each in items)


def _number(cell: object, what: str) -> float:
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(NO_NUMBER.format(what=what, cell=cell))
    return number


def _list(cell: object) -> list[object]:
    """Return a list, or the JSON of one, as CSV holds it; an empty list for any other cell."""
    if isinstance(cell, str) and cell.strip().startswith("["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return []
    return cell if isinstance(cell, list) else []
