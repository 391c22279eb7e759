"""Turn the rows of a source, of whatever kind, into likes and dislikes.

`columns` finds the columns and `labels` reads the label. The meaning of numbers depends on all rows, so the labels are
read once before the first row. A row without a prompt takes it from the metadata inside its image, unless the image is
on the web.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.metadata.image_files import parameters_in_image
from thumbtune.feedback.quoting import listed, named, shown
from thumbtune.feedback.reading.cells import grade_in, is_blank, number_in, prompt_in, syntax_in, text_in, uuid_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns, beginnings, cell_in
from thumbtune.feedback.reading.columns_read import columns_read
from thumbtune.feedback.reading.content import find_images
from thumbtune.feedback.reading.details import Details
from thumbtune.feedback.reading.image_cells import file_of, image_in, is_web_address
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.labels import ReadLabel, Scale, notes_of, number_of
from thumbtune.feedback.reading.options import Rows, check_reading
from thumbtune.feedback.reading.own_words import OF_LABELS, check_meanings
from thumbtune.feedback.reading.record import Counted, Record
from thumbtune.feedback.source import Bytes, Reading, SourceRow

DISLIKE_COLUMNS = ("dislike", "disliked", "dislikes")  # columns of dislikes, beside a column `like`
_DISLIKES = frozenset(DISLIKE_COLUMNS)
NO_LABEL = "none of its columns contains likes and dislikes; name the column of labels, as in --map label=opinion"
UNSORTED = (
    "its list has no likes and dislikes yet, as `thumbtune generate` writes it; sort the images into folders like and "
    "dislike, or judge them with `thumbtune import IMAGES --unrated` and `thumbtune studio`"
)
LabelRows = Callable[[Sequence[str]], Rows]  # all rows, of which only these columns are needed
Sample = Callable[[], Rows]  # some rows with all of their columns
MAX_ID = 20  # characters: a prompt without a space, with a digit, and not longer may be the name of one

DETAILS = ("seed", "created_at")
EXTRAS: tuple[tuple[str, Callable[[Record, str], object]], ...] = (
    ("rater", text_in),
    ("grade", grade_in),
    ("reason", text_in),
    ("pair", text_in),
    ("model", text_in),
    ("source", text_in),
    ("vote_id", uuid_in),
)
MAX_KNOWN_LABELS = 1000  # cells; more are read again each time

ReadCell = Callable[[object], Bytes]  # from a cell to a function that reads its image; raises UnreadableImage


class RowReader:
    """The reader of one source's rows. `names` are the usual names of columns, for those that are not mapped.

    Raises:
        UsageError: an option in `reading` is invalid.
    """

    def __init__(
        self,
        reading: Reading,
        label_rows: LabelRows,
        names: Mapping[str, tuple[str, ...]] = COLUMNS,
        sample: Sample | None = None,
    ) -> None:
        self.columns = Columns(reading.columns, names)
        check_reading(reading)
        check_meanings(reading.words.values(), OF_LABELS, "a label")
        self.reading = reading
        self._label_rows, self._sample = label_rows, sample
        self._details = Details(self._times)
        self._known_labels: dict[object, ReadLabel] = {}
        self._images: tuple[str | None, str | None] | None = None  # their column by its cells, or why there is none
        self._may_be_ids: str | None = ""  # a prompt, while each may be the name of one; None for other prompts

    def read(self, row: Record, where: str, read_cell: ReadCell, source: str) -> SourceRow:
        """Read one row. An error in it becomes its `problem`, so that the rows after it are still read.

        `source` is for rows without such a column; an empty cell in such a column means an unknown source.
        """
        ours, image, extras = self.columns.ours_in(row), None, dict[str, object]()
        syntax = syntax_in(ours, "syntax")
        if ours["image"] is None and self.columns.lacks(row, "image"):
            column, why = self._find_images(row, read_cell)
            if column is None:
                return SourceRow(where=where, problem=why)
            ours["image"] = row.get(column)
            self.columns.used["image"][column] = None
        prompt, (liked, problem, unread, skipped) = prompt_in(ours), self._label_in(row)
        self._note_prompt(prompt)
        if liked is None or prompt is None:  # an option may give one prompt for all rows
            where = f"{where} (columns: {listed(row)})"
        if self.columns.lacks(row, "source"):
            ours["source"] = source
        try:
            image = read_cell(ours["image"])
            extras = self._extras_of(ours)
        except (UnreadableImage, ValueError) as error:
            image, problem, extras = None, str(error), {}
        if image is not None and prompt is None and liked is not None and not is_web_address(ours["image"]):
            parameters = parameters_in_image(image)
            prompt, embedded = parameters.prompt, {"seed": parameters.seed, "model": parameters.model}
            syntax = parameters.syntax
            extras |= {name: cell for name, cell in embedded.items() if extras.get(name) is None}
        if image is not None and unread is not None:
            extras["unread"] = unread
        extras |= {"unrated": skipped, "syntax": syntax}
        return SourceRow(where=where, image=image, prompt=prompt, liked=liked, problem=problem, **extras)  # type: ignore[arg-type]

    def label_of(self, row: Record, lacks_label: bool) -> ReadLabel:
        """Return the label in a row of its columns of labels alone; `lacks_label`: the table has no such column."""
        return ReadLabel(self.reading.label) if lacks_label else self._label_in(row)

    def detail_of(self, row: Record, name: str) -> object:
        """Return the seed or the time in a row of its columns alone; None if it cannot be read."""
        return self._details.read(self.columns.ours_in(row), name)[0][name]

    def image_column(self, row: Record, read_cell: ReadCell) -> tuple[str | None, str | None]:
        """Return the column of images by its cells, for a table without one by its name; or None, and the reason."""
        column, why = self._find_images(row, read_cell)
        if column is not None:
            self.columns.used["image"][column] = None
        return column, why

    def survey(self, rows: Rows, place: ImageRoot) -> bool:
        """Look for the images of all rows; return False if their column is not known yet."""
        with suppress(ThumbtuneError):  # reading the rows raises it again
            for row in rows:
                cell = None if row is None else self.columns.ours_in(row)["image"]
                if cell is None and row is not None and self.columns.lacks(row, "image"):
                    if self._images is None:
                        return False
                    cell = row.get(self._images[0] or "")
                with suppress(UnreadableImage, ValueError):
                    image_in(cell, place)
        return True

    def described(self) -> list[str]:
        """Return which column was read as what and which were left out."""
        scales = self.__dict__.get("_scales", {})  # none yet, if no row has a label
        labels = {name: scale.described() for name, scale in scales.items()}
        lines = columns_read(self.columns, labels) + notes_of(scales)
        if self._may_be_ids:
            lines.append(
                f"Each prompt is one word with a number, such as {shown(self._may_be_ids)}; if these are names of "
                "prompts, name the column of prompts, as in --map prompt=caption."
            )
        return lines

    def _note_prompt(self, prompt: str | None) -> None:
        if prompt is not None and self._may_be_ids is not None:
            is_id = len(prompt) <= MAX_ID and " " not in prompt and any(map(str.isdigit, prompt))
            self._may_be_ids = prompt if is_id else None

    def _find_images(self, row: Record, read_cell: ReadCell) -> tuple[str | None, str | None]:
        """Return the column of images by its cells, for rows without one by its name; or None, and the reason."""
        if self._images is None:
            rows = self._sample() if self._sample is not None else [row]
            self._images = find_images(self.columns, rows, partial(_exists, read_cell))
        return self._images

    def _times(self) -> Iterator[object]:
        """Yield the cells of all columns of times."""
        columns = [part for name in self.columns.names["created_at"] for part in beginnings(name)]
        for row in self._all_rows(columns):
            yield from (cell for _, cell in self.columns.filled_in(row or {}, "created_at"))

    def _all_rows(self, columns: Sequence[str]) -> Rows:
        """Yield all rows, as a limit must not change what numbers mean; behind it, an error ends them."""
        number, limit = 0, self.reading.limit
        try:
            for row in self._label_rows(columns):
                number += 1
                yield row
        except ThumbtuneError:
            if limit is None or number < limit:
                raise

    @cached_property
    def _scales(self) -> dict[str, Scale]:
        """The meaning of the numbers in each column of labels."""
        scales: dict[str, Scale] = {}
        for (name, _, cell), times in self._counted_labels():
            if name not in scales:
                scales[name] = Scale(self.reading.like_at, name, self.reading.words)
            scales[name].add(cell, times)
        return scales

    def _counted_labels(self) -> Iterator[tuple[tuple[str, type, Any], int]]:
        """Yield the cells of all columns of labels, (column, type, cell), and the number of rows with it."""
        counts: dict[tuple[str, type, Any], int] = {}
        for row in self._all_rows(self.columns.of_labels()):
            times = row.times if isinstance(row, Counted) else 1
            for name, cell in self.columns.labels_in(row or {}):
                each = (name, type(cell), cell)
                if not isinstance(cell, str | int | float):
                    yield each, times
                    continue
                counts[each] = counts.get(each, 0) + times
                if len(counts) >= MAX_KNOWN_LABELS:
                    yield from counts.items()
                    counts.clear()
        yield from counts.items()

    def _label_in(self, row: Record) -> ReadLabel:
        """Return the label of a row; a cell that is the only label of its row is read once."""
        labels = self.columns.labels_in(row)
        if len(labels) != 1 or not _DISLIKES.isdisjoint(row):
            return self._label_of(row, labels)
        ((name, cell),) = labels
        known = (name, type(cell), cell) if isinstance(cell, str | int | float) else None
        label = self._known_labels.get(known)
        if label is None:
            label = self._label_of(row, labels)
            if known is not None and len(self._known_labels) < MAX_KNOWN_LABELS:
                self._known_labels[known] = label
        return label

    def _label_of(self, row: Record, labels: Sequence[tuple[str, object]]) -> ReadLabel:
        if not labels:
            lacks = self.reading.label is None and self.columns.lacks(row, "label")
            no_label = NO_LABEL if self.columns.lacks(row, "syntax") else UNSORTED  # only lists of ours have it
            return ReadLabel(self.reading.label, no_label if lacks else None)
        votes = {name: liked for name, cell in labels if (liked := self._scales[name].liked(cell)) is not None}
        if len(set(votes.values())) > 1:
            one, other = (next(name for name in votes if votes[name] is liked) for liked in (True, False))
            return ReadLabel(
                problem=f"{named(one)} is a like and {named(other)} a dislike; name the one that counts: --map "
                f"label={named(one)}",
            )
        if votes:
            return ReadLabel(*self._checked(row, next(iter(votes.values()))))
        if any(self._scales[name].skips(cell) for name, cell in labels):
            return ReadLabel(skipped=True)
        for name, cell in labels:
            if (why := self._scales[name].problem_of(name, cell)) is not None:
                return ReadLabel(
                    problem=why, unread=cell if isinstance(cell, str) and number_of(cell) is None else None
                )
        return ReadLabel()

    def _checked(self, row: Record, liked: bool) -> tuple[bool | None, str | None]:
        """Return the label of a row, compared with its column of dislikes if it has one."""
        dislike_cell = next((cell for name in DISLIKE_COLUMNS if not is_blank(cell := cell_in(row, name))), None)
        if "label" in self.columns.mapped or dislike_cell is None or self.reading.like_at is not None:
            return liked, None
        disliked = Scale().liked(dislike_cell)
        if disliked is None:
            return (
                None,
                f"it has columns for likes and for dislikes, and one contains {shown(dislike_cell)}; write 0 or 1",
            )
        if disliked == liked:
            return None, "it is neither liked nor disliked" if not liked else "it is liked and disliked"
        return liked, None

    def _extras_of(self, ours: Record) -> dict[str, object]:
        """Return the other fields of a row, those that it has.

        Raises:
            ValueError: a cell holds another type of value.
        """
        extras: dict[str, object] = {}
        if ours["weight"] is not None:
            weight = number_in(ours, "weight")
            extras["weight"] = 1.0 if weight is None else weight
        for name in DETAILS:
            if ours[name] is not None:
                details, extras["left_out"] = self._details.read(ours, *DETAILS)
                extras |= details
                break
        for name, read in EXTRAS:
            if ours[name] is not None:
                extras[name] = read(ours, name)
        return extras


def _exists(read_cell: ReadCell, cell: object) -> bool:
    """Return whether a cell names an existing file."""
    try:
        file = file_of(read_cell(cell))
        return file is not None and file.is_file()
    except (UnreadableImage, OSError, ValueError):
        return False
