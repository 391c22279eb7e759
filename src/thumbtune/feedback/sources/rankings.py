"""Rankings: several pictures of a prompt in one row, with a rank, a preference or a rating for each.

    pictures      generations (ImageReward), image_path and file_path (HPD v2), images, image_paths
    ranks         ranking (ImageReward), rank (HPD v2's test.json), ranks: 1 is the best, equal ones tie
    preferences   human_preference (HPD v2's train.json), preferences: 1 for the better, 0 for the other
    ratings       ratings, rating, scores: a higher one is better; likes from `like_at` up, where somebody says it

Every two pictures of a row with different ranks are a comparison, and what they add up to is the policy's to say. A
row's ratings are compared like ranks, unless `like_at` says from where they are likes: then each is judged by itself.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

from thumbtune.feedback.cells import first, is_blank, moment_in, prompt_in, text_in
from thumbtune.feedback.pictures import UnreadablePicture
from thumbtune.feedback.sources.found import AS_FOUND, Found, Reading
from thumbtune.feedback.sources.judgements import Judgement, Shown, Unpaired, unusable
from thumbtune.feedback.sources.named import Places
from thumbtune.feedback.sources.pairs import NO_OBJECT, RATER, may_be_picture
from thumbtune.feedback.sources.preferences import Counts
from thumbtune.feedback.sources.records import count_records, first_record, read_records
from thumbtune.feedback.sources.rows import Record
from thumbtune.feedback.sources.splits import files_of_split, parquet_files

PICTURES = ("images", "generations", "image_path", "image_paths", "file_path", "file_paths")
RANKS = ("ranks", "rank", "ranking")
PREFERENCES = ("preferences", "human_preference")
RATINGS = ("ratings", "rating", "scores")
MOST = 100  # pictures of one row: they make 4,950 comparisons
NO_PICTURES = "it lists no pictures; name two or more, or remove the row"
ALONE = "it shows one picture alone, which is better than none; name two or more, or remove the row"
TOO_MANY = "it ranks {number} pictures at once, and the limit is {most}; split the row"
NO_RANKS = "it has neither ranks, preferences nor ratings; fill one in or remove the row"
UNEVEN = "it has {number} pictures and {said} of {what}; mend or remove the row"
NO_NUMBER = "its {what} holds {cell!r}, which is no number; mend or remove the row"


def recognises(path: Path) -> bool:
    """Whether this is a table of rankings, by its first row. It never raises."""
    row = first_record((parquet_files(path) or [path])[0]) or {}
    pictures = _list(first(row, PICTURES))
    said = _list(first(row, RANKS + PREFERENCES + RATINGS))
    return bool(pictures) and len(pictures) == len(said) and all(may_be_picture(cell) for cell in pictures)


class Rankings:
    """A table of rankings in JSON, JSON lines, CSV or Parquet, or a folder with the Parquet files of one split.

    Its pictures lie beside it, in folders there, or in a folder with its own name, as HPD v2's do (test.json, test/).
    """

    def __init__(self, path: Path, reading: Reading = AS_FOUND) -> None:
        self.files = files_of_split(path, reading.split) if path.is_dir() else [path]
        self.reading = reading
        self._unpaired = Unpaired(self._judgements, reading)

    def counts(self) -> Counts:
        """How many comparisons there are, and images of each class; it reads everything once."""
        return self._unpaired.counts()

    def __length_hint__(self) -> int:
        rows = sum(count_records(file) for file in self.files)
        return 2 * (rows if self.reading.limit is None else min(rows, self.reading.limit))  # or more: of a row, two

    def __iter__(self) -> Iterator[Found]:
        return iter(self._unpaired)

    def _judgements(self) -> Iterator[Judgement]:
        for file in self.files:
            places = Places.of(file, self.reading.root, subfolders=(file.stem,))
            for where, row in read_records(file, self.reading.columns):
                yield _judgement(row, where, places, self.reading.like_at, file.name)


def _judgement(row: Record | None, where: str, places: Places, like_at: float | None, table: str) -> Judgement:
    """What one row says."""
    if row is None:
        return Judgement(where=where, problem=NO_OBJECT)
    try:
        images = _shown(row, places)
        ratings = _numbers(row, RATINGS, len(images))
        thumbs = () if like_at is None else tuple(rating >= like_at for rating in ratings)
        return Judgement(
            where=where,
            prompt=prompt_in(row),
            images=images,
            ranks=() if thumbs else _ranks(row, ratings, len(images)),
            thumbs=thumbs,
            rater=text_in({"rater": first(row, RATER)}, "rater"),
            created_at=moment_in(row, "created_at"),
            source=text_in(row, "source") or table,
        )
    except (UnreadablePicture, ValueError, RecursionError) as error:
        return unusable(where, error)


def _shown(row: Record, places: Places) -> tuple[Shown, ...]:
    """The pictures of a row.

    Raises:
        UnreadablePicture: one is not named at all.
        ValueError: there are none, or far too many.
    """
    cells = _list(first(row, PICTURES))
    if not cells:
        raise ValueError(NO_PICTURES)
    if len(cells) > MOST:
        raise ValueError(TOO_MANY.format(number=len(cells), most=MOST))
    model, shown = text_in(row, "model"), []
    for number, cell in enumerate(cells, start=1):
        side = f"picture {number}"
        picture = places.picture(cell, side)
        shown.append(
            Shown(name=picture.name, side=side, image=picture.image, problem=picture.problem, model=model),
        )
    return tuple(shown)


def _ranks(row: Record, ratings: tuple[float, ...], number: int) -> tuple[float, ...]:
    """How the pictures rank, lower being better.

    Raises:
        ValueError: nothing says so.
    """
    if number == 1:
        raise ValueError(ALONE)
    ranks = _numbers(row, RANKS, number)
    better = ranks or _numbers(row, PREFERENCES, number) or ratings
    if not better:
        raise ValueError(NO_RANKS)
    return ranks or tuple(-degree for degree in better)


def _numbers(row: Record, names: tuple[str, ...], number: int) -> tuple[float, ...]:
    """What the first filled one of these columns says of each picture; nothing where none is filled.

    Raises:
        ValueError: it says something else, or not of each.
    """
    name = next((name for name in names if not is_blank(row.get(name))), None)
    if name is None:
        return ()
    said = _list(row[name])
    if len(said) != number:
        raise ValueError(UNEVEN.format(number=number, said=len(said), what=name))
    return tuple(_number(cell, name) for cell in said)


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
        except ValueError:
            return []
    return cell if isinstance(cell, list) else []
