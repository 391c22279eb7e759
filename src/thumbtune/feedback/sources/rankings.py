"""Rankings: several images of a prompt in one row, with a rank, a preference or a rating for each.

    images      generations (ImageReward), image_path and file_path (HPD v2), images, image_paths
    ranks         ranking (ImageReward), rank (HPD v2's test.json), ranks: 1 is the best, equal ones tie
    preferences   human_preference (HPD v2's train.json), preferences: 1 for the better, 0 for the other
    ratings       ratings, rating, scores: a higher one is better; likes from `like_at` up, where somebody says it

Every two images of a row with different ranks are a comparison, and what they add up to is the policy's to say. A
row's ratings are compared like ranks, unless `like_at` says from where they are likes: then each is judged by itself.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.cells import moment_in, prompt_in, text_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns
from thumbtune.feedback.reading.options import check_columns, check_reading, sheets_of
from thumbtune.feedback.reading.places import Place
from thumbtune.feedback.reading.rows import Record, count_rows, first_row, read_rows, why_broken
from thumbtune.feedback.reading.splits import files_of_split, parquet_files
from thumbtune.feedback.reading.texts import GZIP
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.judgements import Judgement, Shown, Unpaired, shown_in, unusable
from thumbtune.feedback.sources.pairs import may_be_image
from thumbtune.feedback.sources.preferences import Counts

SAID = {  # in the order in which they count
    "ranks": ("ranks", "rank", "ranking"),
    "preferences": ("preferences", "human_preference"),
    "ratings": ("ratings", "rating", "scores"),
}
OURS = {
    "images": ("images", "generations", "image_path", "image_paths", "file_path", "file_paths"),
    **SAID,
    **{key: COLUMNS[key] for key in ("prompt", "rater", "model", "source", "created_at")},
}
MOST = 100  # images of one row: they make 4,950 comparisons
NO_IMAGES = "it lists no images; name two or more, or remove the row"
ALONE = "it shows one image alone, which is better than none; name two or more, or remove the row"
TOO_MANY = "it ranks {number} images at once, and the limit is {most}; split the row"
NO_RANKS = "it has neither ranks, preferences nor ratings; fill one in or remove the row"
UNEVEN = "it has {number} images and {said} of {what}; mend or remove the row"
NO_NUMBER = "its {what} holds {cell!r}, which is no number; mend or remove the row"


def recognises(path: Path) -> bool:
    """Whether this is a table of rankings, by its first row. It never raises."""
    ours = Columns({}, OURS).ours_in(first_row((parquet_files(path) or [path])[0]) or {})
    images = _list(ours["images"])
    said = _list(next((ours[key] for key in SAID if ours[key] is not None), None))
    return bool(images) and len(images) == len(said) and all(may_be_image(cell) for cell in images)


class Rankings:
    """A table of rankings, or a folder with the Parquet files of one split of them.

    Its images lie beside it, in folders there, or in a folder with its own name, as HPD v2's do (test.json, test/).

    Raises:
        UsageError: something in `reading` is off, or names a column that there is not.
        ThumbtuneError: a file cannot be read, or no split is meant.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.files = files_of_split(path, reading.split) if path.is_dir() else [path]
        self.reading = reading
        self.columns = Columns(reading.columns, OURS)
        self._unpaired = Unpaired(self._judgements, reading)
        check_reading(reading)
        check_columns(self.files[0], self.columns, sheets_of(self.files, reading.encoding))

    def counts(self) -> Counts:
        """How many comparisons there are, and images of each class; it reads everything once."""
        return self._unpaired.counts()

    def __length_hint__(self) -> int:
        rows = sum(count_rows(file) for file in self.files)
        return 2 * (rows if self.reading.limit is None else min(rows, self.reading.limit))  # or more: of a row, two

    def __iter__(self) -> Iterator[SourceRow]:
        return iter(self._unpaired)

    def with_unrated(self) -> Iterator[SourceRow]:
        """The same, and the images that the policy leaves out."""
        return self._unpaired.with_unrated()

    def _judgements(self) -> Iterator[Judgement]:
        for file in self.files:
            place = Place(file.parent, self.reading.root, inner=_name_of(file))
            for where, row in read_rows(file, encoding=self.reading.encoding):
                yield self._judgement(row, where, file, place)

    def _judgement(self, row: Record | None, where: str, file: Path, place: Place) -> Judgement:
        """What one row says."""
        if row is None:
            return Judgement(where=where, problem=why_broken(file))
        ours = self.columns.ours_in(row)
        try:
            images = self._shown(ours, place)
            thumbs = self._thumbs(row, len(images))
            return Judgement(
                where=where,
                prompt=prompt_in(ours),
                images=images,
                ranks=() if thumbs else self._ranks(row, len(images)),
                thumbs=thumbs,
                rater=text_in(ours, "rater"),
                created_at=moment_in(ours, "created_at"),
                source=text_in(ours, "source") or file.name,
            )
        except (UnreadableImage, ValueError, RecursionError) as error:
            return unusable(where, error)

    def _shown(self, ours: Record, place: Place) -> tuple[Shown, ...]:
        """The images of a row.

        Raises:
            UnreadableImage: one is not named at all.
            ValueError: there are none, or far too many.
        """
        cells = _list(ours["images"])
        if not cells:
            raise ValueError(NO_IMAGES)
        if len(cells) > MOST:
            raise ValueError(TOO_MANY.format(number=len(cells), most=MOST))
        model, download = text_in(ours, "model"), self.reading.allow_download
        return tuple(
            replace(shown_in(cell, f"image {number}", place, download), model=model)
            for number, cell in enumerate(cells, start=1)
        )

    def _thumbs(self, row: Record, number: int) -> tuple[bool, ...]:
        """What its ratings say of each by itself; nothing where nobody said from where they are likes.

        Raises:
            ValueError: they say something else, or not of each.
        """
        like_at = self.reading.like_at
        if like_at is None:
            return ()
        return tuple(rating >= like_at for rating in _numbers(self.columns.filled_in(row, "ratings"), number))

    def _ranks(self, row: Record, number: int) -> tuple[float, ...]:
        """How the images rank, lower being better.

        Raises:
            ValueError: nothing says so, or not of each.
        """
        if number == 1:
            raise ValueError(ALONE)
        key = next((key for key in SAID if self.columns.filled_in(row, key)), None)
        if key is None:
            raise ValueError(NO_RANKS)
        said = _numbers(self.columns.filled_in(row, key), number)
        return said if key == "ranks" else tuple(-degree for degree in said)


def _name_of(file: Path) -> str:
    return Path(file.name.removesuffix(GZIP)).stem


def _numbers(filled: Sequence[tuple[str, object]], number: int) -> tuple[float, ...]:
    """What the first filled column says of each image; nothing where none is filled.

    Raises:
        ValueError: it says something else, or not of each.
    """
    if not filled:
        return ()
    name, cell = filled[0]
    said = _list(cell)
    if len(said) != number:
        raise ValueError(UNEVEN.format(number=number, said=len(said), what=name))
    return tuple(_number(each, name) for each in said)


def _number(cell: object, what: str) -> float:
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(NO_NUMBER.format(what=what, cell=cell))
    return number


def _list(cell: object) -> list[object]:
    """A list, or the JSON of one, as CSV holds it; empty for anything else."""
    if isinstance(cell, str) and cell.strip().startswith("["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return []
    return cell if isinstance(cell, list) else []
