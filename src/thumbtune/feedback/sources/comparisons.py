"""Read tables of two images a row and of which is better, in any usual naming.

    image_a, image_b, preference      image0, image1, label      left_image, right_image, winner
    jpg_0, jpg_1, label_0, label_1    as Pick-a-Pic has them, in any kind of table
    path1, path2, choice_dist         HPDv3's: the first is the better one

`sides` finds the columns, and `winners` reads which image won. Columns of each image, as model_a and seed_a, belong to
it.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from thumbtune.errors import UsageError
from thumbtune.feedback.quoting import listed, named, shown
from thumbtune.feedback.reading.cells import is_blank, label_in, prompt_in, text_in
from thumbtune.feedback.reading.columns import COLUMNS
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.labels import number_of
from thumbtune.feedback.reading.own_words import OF_COMPARISONS, check_meanings
from thumbtune.feedback.reading.record import squeezed
from thumbtune.feedback.reading.rows import Record, first_row, read_rows
from thumbtune.feedback.reading.splits import parquet_files
from thumbtune.feedback.source import DEFAULT_READING, Reading
from thumbtune.feedback.sources.comparison_table import ComparisonTable
from thumbtune.feedback.sources.judgements import ComparedImage, Judgement, compared_image
from thumbtune.feedback.sources.sides import NOT_JUDGED, Sides, sides_of
from thumbtune.feedback.sources.winners import DISAGREE, FIRST, LOSING, SECOND, SKIP, TIE, Winners

COMPARISON_COLUMNS = {
    "winner": (),
    **{key: COLUMNS[key] for key in ("prompt", "rater", "source", "created_at", "seed", "model")},
}
SAMPLED_ROWS = 50
DISTRIBUTION = "choice_dist"  # HPDv3's numbers of votes for either image, of which the first is the better one
OPPOSITE = {FIRST: SECOND, SECOND: FIRST}
RANKS = {FIRST: (0.0, 1.0), SECOND: (1.0, 0.0), TIE: (0.0, 0.0)}
CONTRADICTION = "its choice_dist {cell} does not prefer path1, as HPDv3 does; correct or remove the row"
NEITHER = "its {names} are no numbers that say which image is better; correct or remove the row"


def recognises(path: Path) -> bool:
    """Return whether this is a table of two images a row, by its first rows. It never raises."""
    file = (parquet_files(path) or [path])[0]
    if first_row(file) is None:
        return False
    try:
        sides = sides_of(_sample(file, None))
    except Exception:  # a file may break a parser in any way; then it is not recognised
        return False
    return sides is not None and not _labels_one(file)


def _labels_one(file: Path) -> bool:
    """Return whether a table also has an image by its usual name, of which its label may be."""
    row = first_row(file) or {}
    return any(not is_blank(row.get(name)) for name in ("file_name", "image"))


def _sample(file: Path, encoding: str | None) -> list[Record]:
    return [row for _, row in islice(read_rows(file, encoding=encoding), SAMPLED_ROWS) if row]


class Comparisons(ComparisonTable):
    """A table of comparisons, or a folder with the Parquet files of one split of them.

    Raises:
        UsageError: an option in `reading` is invalid, or no column says which image is better.
        ThumbtuneError: a file cannot be read, or no split is named.
    """

    column_names = COMPARISON_COLUMNS

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        super().__init__(path, reading)
        check_meanings(reading.words.values(), OF_COMPARISONS, "a comparison")
        rows = _sample(self.files[0], reading.encoding)
        sides = sides_of(rows, self.columns.mapped.get("winner"))
        there = dict.fromkeys(name for row in rows for name in row)
        if sides is None:
            raise UsageError(
                f"{path} has no two columns of images that differ in a and b, 0 and 1, 1 and 2, or left and right; its "
                f"columns are {listed(there)}. Name them: --as pairs --map chosen=COLUMN,rejected=COLUMN.",
                code="comparison-no-images",
            )
        self.sides: Sides = sides
        self._is_hpdv3 = sides.winner is None and sides.won is None and DISTRIBUTION in there
        if sides.winner is None and sides.won is None and not self._is_hpdv3:
            others = [name for name in there if name not in (*sides.images, *COLUMNS["prompt"])]
            raise UsageError(
                f"{path} shows two images in each row, {listed(sides.images)}, and no known column says which is "
                f"better; name it, as in --map winner={named(others[0] if others else 'COLUMN')}, or if the first "
                f"always is: --as pairs --map chosen={named(sides.images[0])},rejected={named(sides.images[1])}.",
                code="comparison-no-winner",
            )
        self._models, self._seeds = sides.both(there, "model", "modelname"), sides.both(there, "seed")
        self._ids = sides.both(there, "uid", "id")
        self._note_columns()

    @cached_property
    def _winners(self) -> dict[str, Winners]:
        """The meaning of each column of winners, `winner` first."""
        sides = (self.sides.images, self.sides.markers)
        names = (*([self.sides.winner] if self.sides.winner else []), *self.sides.also)
        return {name: Winners(name, sides, partial(self._cells, name), self.reading.words) for name in names}

    def _cells(self, name: str) -> Iterator[object]:
        """Yield all cells of a column; a limit does not count, or it would change what numbers mean."""
        for file in self.files:
            for _, row in read_rows(file, encoding=self.reading.encoding, columns=[name]):
                yield (row or {}).get(name)

    def _note_columns(self) -> None:
        """Note how the columns are read, for people."""
        first, second = self.sides.images
        pairs = (("first image", (first,)), ("second image", (second,)))
        pairs += (("winner", (self.sides.winner,) if self.sides.winner else self.sides.won or ()),)
        pairs += (("model", self._models or ()), ("seed", self._seeds or ()), ("name of the image", self._ids or ()))
        pairs += (("winner (the first is the better one)", (DISTRIBUTION,) if self._is_hpdv3 else ()),)
        for ours, names in pairs:
            if names:
                self.columns.used.setdefault(ours, {}).update(dict.fromkeys(names))

    def _judgement_in(self, row: Record, where: str, file: Path, place: ImageRoot) -> Judgement:
        """Return the judgement in a row."""
        ours = self.columns.ours_in(row)
        left_out = next((name for name in row if _says_unjudged(name, row[name])), None)
        if left_out is not None:
            return Judgement(where=where, left_out="alike" if "different" in left_out else "unlabelled")
        result = self._result(row)
        if result is None or result == SKIP:
            return Judgement(where=where, left_out="unlabelled")
        details, cells = self._details.read(ours, "created_at")
        return Judgement(
            where=where,
            prompt=prompt_in(ours),
            images=(self._image(row, ours, 0, place), self._image(row, ours, 1, place)),
            ranks=RANKS[result],
            rater=text_in(ours, "rater"),
            source=text_in(ours, "source") or file.name,
            cells_left_out=cells,
            **details,  # type: ignore[arg-type]
        )

    def _result(self, row: Record) -> str | None:
        """Return the result of a row: first, second, tie or skip; None if nobody judged it.

        Raises:
            ValueError: it cannot be read, or contradicts itself.
        """
        if self._is_hpdv3:
            return _of_distribution(row.get(DISTRIBUTION))
        names = [each for each in (self.sides.images, self._ids, self._models) if each is not None]
        pairs = [(row.get(first), row.get(second)) for first, second in names]
        if self.sides.won is not None:
            name, result = self.sides.won[0], _of_numbers(row, self.sides.won)
        else:
            name = self.sides.winner or ""
            result = self._winners[name].result(row.get(name), pairs)
        if result in RANKS:
            for other, said in self._said_also(row, pairs):
                if said in RANKS and said != result:
                    cells = {"cell": shown(row.get(name)), "value": shown(row.get(other))}
                    raise ValueError(DISAGREE.format(name=named(name), other=named(other), **cells))
        return result

    def _said_also(self, row: Record, pairs: list[tuple[object, object]]) -> Iterator[tuple[str, str | None]]:
        """Yield what the other columns say that can be read as a result; they may also hold something else."""
        for name in self.sides.also:
            with suppress(ValueError):
                said = self._winners[name].result(row.get(name), pairs)
                yield name, OPPOSITE.get(said or "", said) if squeezed(name) in LOSING else said
        for names in self.sides.counts:
            with suppress(ValueError):
                yield names[0], _of_numbers(row, names)

    def _image(self, row: Record, ours: Record, side: int, place: ImageRoot) -> ComparedImage:
        """Return one of the two images.

        Raises:
            UnreadableImage: its cell is blank.
            ValueError: a cell holds another type of value.
        """
        shown = compared_image(
            row.get(self.sides.images[side]), self.sides.images[side], place, self.reading.allow_download
        )
        seed = row.get(self._seeds[side]) if self._seeds else ours["seed"]
        details, cells = self._details.read({"seed": seed}, "seed")
        model = {"model": row.get(self._models[side]) if self._models else ours["model"]}
        name = text_in(row, self._ids[side]) if self._ids else None
        shown = replace(shown, name=name or shown.name, model=text_in(model, "model"), cells_left_out=cells)
        return replace(shown, **details)  # type: ignore[arg-type]


def _says_unjudged(name: str, cell: object) -> bool:
    """Return whether a cell says that nobody judged the row, or that its images are the same."""
    value = NOT_JUDGED.get(name.replace("_", ""))
    return value is not None and label_in({"label": cell}) is value


def _of_numbers(row: Record, names: tuple[str, str]) -> str | None:
    """Return the result by a number for each image.

    Raises:
        ValueError: one is no number.
    """
    cells = [row.get(name) for name in names]
    if all(map(is_blank, cells)):
        return None
    first, second = (float(cell) if isinstance(cell, bool) else number_of(cell) for cell in cells)
    if first is None or second is None:
        raise ValueError(NEITHER.format(names=listed(names)))
    return FIRST if first > second else SECOND if second > first else TIE


def _of_distribution(cell: object) -> str:
    """Return the result of HPDv3's row, whose first image is the better one.

    Raises:
        ValueError: its votes prefer the second.
    """
    votes = cell if isinstance(cell, list) else [number_of(part) for part in str(cell or "").strip("[]").split(",")]
    numbers = [number_of(vote) for vote in votes]
    if len(numbers) > 1 and None not in numbers[:2] and numbers[0] < numbers[1]:  # type: ignore[operator]
        raise ValueError(CONTRADICTION.format(cell=named(str(cell))))
    return FIRST
