"""Read the table that the paper's authors made of Pick-a-Pic, with a class for each image.

`train_processed_v3.csv` has the columns file_name, caption and split, which is exclusive_win, intersections or
exclusive_lose; the images lie below its folder. The authors' notes call these columns file_path and label.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.cells import prompt_in, text_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns
from thumbtune.feedback.reading.image_cells import image_in
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.options import check_columns, check_reading, sheets_of
from thumbtune.feedback.reading.rows import Record, count_rows, first_row, read_rows, why_broken
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.preferences import IMAGE_CLASSES, ComparisonCounts, ImageClass, labels_under

CLASS_COLUMNS = {
    "image": ("file_name", "file_path", "image"),
    "class": ("split", "label"),
    **{key: COLUMNS[key] for key in ("prompt", "source")},
}
NO_CLASS = "its class is not exclusive_win, intersections or exclusive_lose; correct or remove the row"


def recognises(path: Path) -> bool:
    """Return whether this is a table of classes, by its first row. It never raises."""
    row, columns = first_row(path) or {}, Columns({}, CLASS_COLUMNS)
    return _class_in(row, columns) is not None and columns.ours_in(row)["image"] is not None


class Classes:
    """A table with a class for each image.

    Raises:
        UsageError: an option in `reading` is invalid, or names a column that the table lacks.
        ThumbtuneError: the file cannot be read.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.file = path
        self.reading = reading
        self.labels = labels_under(reading.policy)
        self.columns = Columns(reading.columns, CLASS_COLUMNS)
        self._place = ImageRoot(path.parent, reading.root, survey=self._survey)
        check_reading(reading)
        check_columns(path, self.columns, sheets_of([path], reading.encoding))

    def counts(self) -> ComparisonCounts:
        """Count the images of each class. It reads the whole table once."""
        numbers = Counter(_class_in(row or {}, self.columns) or "unusable" for _, row in self._rows())
        return ComparisonCounts(policy=self.reading.policy, **numbers)

    def __length_hint__(self) -> int:
        rows = count_rows(self.file)
        return rows if self.reading.limit is None else min(rows, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        return (row for row in self.with_unrated() if not row.unrated)

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield the rows and the images that the policy leaves out."""
        return (self._row(row, where) for where, row in self._rows())

    def _rows(self) -> Iterator[tuple[str, Record | None]]:
        return islice(read_rows(self.file, encoding=self.reading.encoding), self.reading.limit)

    def _survey(self, place: ImageRoot) -> bool:
        with suppress(ThumbtuneError):  # reading the rows raises it again
            for _, row in read_rows(self.file, encoding=self.reading.encoding):
                with suppress(UnreadableImage, ValueError):
                    image_in(self.columns.ours_in(row or {})["image"], place)
        return True

    def _row(self, row: Record | None, where: str) -> SourceRow:
        """Return a row's like or dislike; it is unrated if the policy leaves its class out."""
        if row is None:
            return SourceRow(where=where, problem=why_broken(self.file))
        image_class = _class_in(row, self.columns)
        if image_class is None:
            return SourceRow(where=where, problem=NO_CLASS)
        liked = self.labels[image_class]
        ours = self.columns.ours_in(row)
        try:
            image = image_in(ours["image"], self._place, self.reading.allow_download)
            prompt, source = prompt_in(ours), text_in(ours, "source") or self.file.name
        except (UnreadableImage, ValueError) as error:
            return SourceRow(where=where, problem=str(error), unrated=liked is None)
        return SourceRow(where=where, image=image, prompt=prompt, liked=liked, source=source, unrated=liked is None)


def _class_in(row: Record, columns: Columns) -> ImageClass | None:
    """Return the class that a row names, or None: its column `split` may name a split of a data set."""
    words = [cell.strip() for _, cell in columns.filled_in(row, "class") if isinstance(cell, str)]
    return next((each for word in words for each in IMAGE_CLASSES if each == word), None)
