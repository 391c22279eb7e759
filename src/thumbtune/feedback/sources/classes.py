"""Images whose class is written beside them: the table that the paper's authors made of Pick-a-Pic.

`train_processed_v3.csv` has the columns file_name, caption and split, which is exclusive_win, intersections or
exclusive_lose; the images lie below its folder. The authors' notes call these columns file_path and label.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.cells import prompt_in, text_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns
from thumbtune.feedback.reading.image_cells import image_in
from thumbtune.feedback.reading.options import check_columns, check_reading, sheets_of
from thumbtune.feedback.reading.places import Place
from thumbtune.feedback.reading.rows import Record, count_rows, first_row, read_rows, why_broken
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.preferences import SPLITS, Counts, Split, labels_under

OURS = {
    "image": ("file_name", "file_path", "image"),
    "class": ("split", "label"),
    **{key: COLUMNS[key] for key in ("prompt", "source")},
}
NO_CLASS = "it is of none of the classes exclusive_win, intersections and exclusive_lose; mend or remove the row"


def recognises(path: Path) -> bool:
    """Whether this is a table of classes, by its first row. It never raises."""
    row, columns = first_row(path) or {}, Columns({}, OURS)
    return _class_in(row, columns) is not None and columns.ours_in(row)["image"] is not None


class Classes:
    """A table with a class for each image.

    Raises:
        UsageError: something in `reading` is off, or names a column that there is not.
        ThumbtuneError: the file cannot be read.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.file = path
        self.reading = reading
        self.labels = labels_under(reading.policy)
        self.columns = Columns(reading.columns, OURS)
        self._place = Place(path.parent, reading.root)
        check_reading(reading)
        check_columns(path, self.columns, sheets_of([path], reading.encoding))

    def counts(self) -> Counts:
        """How many images of each class there are; it reads everything once."""
        found = Counter(_class_in(row or {}, self.columns) or "unusable" for _, row in self._rows())
        return Counts(policy=self.reading.policy, **found)

    def __length_hint__(self) -> int:
        rows = count_rows(self.file)
        return rows if self.reading.limit is None else min(rows, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        return (found for found in self.with_unrated() if not found.unrated)

    def with_unrated(self) -> Iterator[SourceRow]:
        """The same, and the images that the policy leaves out."""
        return (self._found(row, where) for where, row in self._rows())

    def _rows(self) -> Iterator[tuple[str, Record | None]]:
        return islice(read_rows(self.file, encoding=self.reading.encoding), self.reading.limit)

    def _found(self, row: Record | None, where: str) -> SourceRow:
        """The like or dislike in a row; it is unrated where the policy leaves its class out."""
        if row is None:
            return SourceRow(where=where, problem=why_broken(self.file))
        split = _class_in(row, self.columns)
        if split is None:
            return SourceRow(where=where, problem=NO_CLASS)
        liked = self.labels[split]
        ours = self.columns.ours_in(row)
        try:
            image = image_in(ours["image"], self._place, self.reading.allow_download)
            prompt, source = prompt_in(ours), text_in(ours, "source") or self.file.name
        except (UnreadableImage, ValueError) as error:
            return SourceRow(where=where, problem=str(error), unrated=liked is None)
        return SourceRow(where=where, image=image, prompt=prompt, liked=liked, source=source, unrated=liked is None)


def _class_in(row: Record, columns: Columns) -> Split | None:
    """The class that a row names; its column `split` may be that of a data set, which is none."""
    words = [cell.strip() for _, cell in columns.filled_in(row, "class") if isinstance(cell, str)]
    return next((split for word in words for split in SPLITS if split == word), None)
