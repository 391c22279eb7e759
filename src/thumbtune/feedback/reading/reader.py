"""What the rows of one source say, whichever kind it is: the one way from a row to a like or dislike.

Which column is what is in `columns`, what its label means in `feedback.labels`. What numbers mean depends on all rows,
so the labels are read once before anything is found. A row without a prompt takes it from what the maker of its image
wrote into it, unless the image is on the web.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.metadata.png_text import written_in_image
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
from thumbtune.feedback.reading.image_cells import is_on_the_web
from thumbtune.feedback.reading.labels import Scale
from thumbtune.feedback.reading.options import Rows, check_reading
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.shown import listed, named, shown
from thumbtune.feedback.source import Bytes, Reading, SourceRow

AGAINST = ("dislike", "disliked", "dislikes")  # columns that a `like` may stand beside
NO_IMAGE = "none of its columns ({columns}) names an image; say which one does, as in --map image=jpg"
NO_LABEL = "none of its columns says like or dislike; say which one does, as in --map label=opinion"
LabelRows = Callable[[Sequence[str]], Rows]  # all rows, of which no more than these columns are needed
ReadCell = Callable[[object], Bytes]  # from a cell to what reads its image; raises UnreadableImage


class RowReader:
    """The reader of one source's rows. `names` are the columns to look for where nobody says which.

    Raises:
        UsageError: something in `reading` is off.
    """

    def __init__(self, reading: Reading, label_rows: LabelRows, names: Mapping[str, tuple[str, ...]] = COLUMNS) -> None:
        self.columns = Columns(reading.columns, names)
        check_reading(reading)
        self.reading = reading
        self._label_rows = label_rows

    def found(self, row: Record, where: str, read_cell: ReadCell, source: str) -> SourceRow:
        """Read one row; whatever is wrong with it is in the `problem`, so that the rows after it still count.

        `source` is for rows without such a column. One that has it and leaves it empty says that it is not known.
        """
        ours = self.columns.ours_in(row)
        prompt, (liked, problem), image = prompt_in(ours), self._label_in(row), None
        if ours["image"] is None and self.columns.lacks(row, "image"):
            return SourceRow(where=where, problem=NO_IMAGE.format(columns=listed(row)))
        if liked is None or prompt is None:  # without a prompt in the row there may still be one for all
            where = f"{where} (columns: {listed(row)})"
        if self.columns.lacks(row, "source"):
            ours["source"] = source
        try:
            image = read_cell(ours["image"])
            extras = _extras_of(ours)
        except (UnreadableImage, ValueError) as error:
            image, problem, extras = None, str(error), {}
        if image is not None and prompt is None and liked is not None and not is_on_the_web(ours["image"]):
            written = written_in_image(image)
            prompt, said = written.prompt, {"seed": written.seed, "model": written.model}
            extras |= {name: cell for name, cell in said.items() if extras[name] is None}
        return SourceRow(where=where, image=image, prompt=prompt, liked=liked, problem=problem, **extras)  # type: ignore[arg-type]

    @cached_property
    def _scales(self) -> dict[str, Scale]:
        """What the numbers in each column of labels mean."""
        scales = {name: Scale(self.reading.like_at, name) for name in self.columns.names["label"]}
        for row in islice(self._label_rows(self.columns.of_labels()), self.reading.limit):
            for name, cell in self.columns.labels_in(row or {}):
                scales[name].see(cell)
        return scales

    def _label_in(self, row: Record) -> tuple[bool | None, str | None]:
        """Liked or not; or None, and why, if there is more to say than that nothing says so."""
        labels = self.columns.labels_in(row)
        if not labels:
            lacks = self.reading.label is None and self.columns.lacks(row, "label")
            return self.reading.label, NO_LABEL if lacks else None
        said = {name: liked for name, cell in labels if (liked := self._scales[name].liked(cell)) is not None}
        if len(set(said.values())) > 1:
            one, other = (next(name for name in said if said[name] is liked) for liked in (True, False))
            return (
                None,
                f"{named(one)} says like and {named(other)} dislike; say which counts: --map label={named(one)}",
            )
        if said:
            return self._weighed(row, next(iter(said.values())))
        return None, next((why for name, cell in labels if (why := self._scales[name].why_not(name, cell))), None)

    def _weighed(self, row: Record, liked: bool) -> tuple[bool | None, str | None]:
        """What a row says that has a column for dislikes, too, beside the one for likes."""
        against = next((cell for name in AGAINST if not is_blank(cell := cell_in(row, name))), None)
        if "label" in self.columns.mapped or against is None or self.reading.like_at is not None:
            return liked, None
        disliked = Scale().liked(against)
        if disliked is None:
            return None, f"it has columns for likes and for dislikes, of which one says {shown(against)}; write 0 or 1"
        if disliked == liked:
            return None, "it is neither liked nor disliked" if not liked else "it is liked and disliked"
        return liked, None


def _extras_of(ours: Record) -> dict[str, object]:
    """What may be said beside the thumb itself.

    Raises:
        ValueError: a cell is filled with something else.
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
