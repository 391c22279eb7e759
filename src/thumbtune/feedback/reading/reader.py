"""Turn the rows of a source, of whatever kind, into likes and dislikes.

`columns` finds the columns and `labels` reads the label. The meaning of numbers depends on all rows, so the labels are
read once before the first row. A row without a prompt takes it from the metadata inside its image, unless the image is
on the web.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.metadata.image_files import parameters_in_image
from thumbtune.feedback.quoting import listed, named, shown
from thumbtune.feedback.reading.cells import (
    grade_in,
    is_blank,
    moment_in,
    number_in,
    prompt_in,
    text_in,
    uuid_in,
    whole_number_in,
)
from thumbtune.feedback.reading.columns import COLUMNS, Columns, cell_in
from thumbtune.feedback.reading.image_cells import is_web_address
from thumbtune.feedback.reading.labels import Scale
from thumbtune.feedback.reading.options import Rows, check_reading
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.source import Bytes, Reading, SourceRow

DISLIKE_COLUMNS = ("dislike", "disliked", "dislikes")  # columns of dislikes, beside a column `like`
NO_IMAGE = "none of its columns ({columns}) contains images; name the column of images, as in --map image=jpg"
NO_LABEL = "none of its columns contains likes and dislikes; name the column of labels, as in --map label=opinion"
LabelRows = Callable[[Sequence[str]], Rows]  # all rows, of which only these columns are needed
ReadCell = Callable[[object], Bytes]  # from a cell to a function that reads its image; raises UnreadableImage


class RowReader:
    """The reader of one source's rows. `names` are the usual names of columns, for those that are not mapped.

    Raises:
        UsageError: an option in `reading` is invalid.
    """

    def __init__(self, reading: Reading, label_rows: LabelRows, names: Mapping[str, tuple[str, ...]] = COLUMNS) -> None:
        self.columns = Columns(reading.columns, names)
        check_reading(reading)
        self.reading = reading
        self._label_rows = label_rows

    def read(self, row: Record, where: str, read_cell: ReadCell, source: str) -> SourceRow:
        """Read one row. An error in it becomes its `problem`, so that the rows after it are still read.

        `source` is for rows without such a column; an empty cell in such a column means an unknown source.
        """
        ours = self.columns.ours_in(row)
        prompt, (liked, problem), image, syntax = prompt_in(ours), self._label_in(row), None, None
        if ours["image"] is None and self.columns.lacks(row, "image"):
            return SourceRow(where=where, problem=NO_IMAGE.format(columns=listed(row)))
        if liked is None or prompt is None:  # an option may give one prompt for all rows
            where = f"{where} (columns: {listed(row)})"
        if self.columns.lacks(row, "source"):
            ours["source"] = source
        try:
            image = read_cell(ours["image"])
            extras = _extras_of(ours)
        except (UnreadableImage, ValueError) as error:
            image, problem, extras = None, str(error), {}
        if image is not None and prompt is None and liked is not None and not is_web_address(ours["image"]):
            parameters = parameters_in_image(image)
            prompt, embedded = parameters.prompt, {"seed": parameters.seed, "model": parameters.model}
            syntax = parameters.syntax
            extras |= {name: cell for name, cell in embedded.items() if extras[name] is None}
        return SourceRow(where=where, image=image, prompt=prompt, liked=liked, problem=problem, syntax=syntax, **extras)  # type: ignore[arg-type]

    @cached_property
    def _scales(self) -> dict[str, Scale]:
        """The meaning of the numbers in each column of labels."""
        scales = {name: Scale(self.reading.like_at, name) for name in self.columns.names["label"]}
        for row in islice(self._label_rows(self.columns.of_labels()), self.reading.limit):
            for name, cell in self.columns.labels_in(row or {}):
                scales[name].add(cell)
        return scales

    def _label_in(self, row: Record) -> tuple[bool | None, str | None]:
        """Return the label of a row; or None, with the reason if there is a specific one."""
        labels = self.columns.labels_in(row)
        if not labels:
            lacks = self.reading.label is None and self.columns.lacks(row, "label")
            return self.reading.label, NO_LABEL if lacks else None
        votes = {name: liked for name, cell in labels if (liked := self._scales[name].liked(cell)) is not None}
        if len(set(votes.values())) > 1:
            one, other = (next(name for name in votes if votes[name] is liked) for liked in (True, False))
            return (
                None,
                f"{named(one)} is a like and {named(other)} a dislike; name the one that counts: --map "
                f"label={named(one)}",
            )
        if votes:
            return self._checked(row, next(iter(votes.values())))
        return None, next((why for name, cell in labels if (why := self._scales[name].problem_of(name, cell))), None)

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


def _extras_of(ours: Record) -> dict[str, object]:
    """Return the other fields of a row.

    Raises:
        ValueError: a cell holds another type of value.
    """
    weight = number_in(ours, "weight")
    return {
        "rater": text_in(ours, "rater"),
        "weight": 1.0 if weight is None else weight,
        "grade": grade_in(ours, "grade"),
        "reason": text_in(ours, "reason"),
        "pair": text_in(ours, "pair"),
        "seed": whole_number_in(ours, "seed"),
        "model": text_in(ours, "model"),
        "source": text_in(ours, "source"),
        "created_at": moment_in(ours, "created_at"),
        "vote_id": uuid_in(ours, "vote_id"),
    }
