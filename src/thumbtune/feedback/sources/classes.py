"""Pictures whose class is written beside them: the table that the paper's authors made of Pick-a-Pic.

`train_processed_v3.csv` has the columns file_name, caption and split, which is exclusive_win, intersections or
exclusive_lose; the pictures lie below its folder. The authors' notes call these columns file_path and label.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from thumbtune.feedback.cells import first, prompt_in, text_in
from thumbtune.feedback.pictures import UnreadablePicture
from thumbtune.feedback.sources.found import AS_FOUND, Found, Reading
from thumbtune.feedback.sources.named import Places
from thumbtune.feedback.sources.pairs import NO_OBJECT
from thumbtune.feedback.sources.preferences import SPLITS, Counts, Labels, Split, labels_under
from thumbtune.feedback.sources.records import count_records, first_record, read_records
from thumbtune.feedback.sources.rows import Record

PICTURE = ("file_name", "file_path", "image")
CLASS = ("split", "label")
NO_CLASS = "it is of none of the classes exclusive_win, intersections and exclusive_lose; mend or remove the row"


def recognises(path: Path) -> bool:
    """Whether this is a table of classes, by its first row. It never raises."""
    row = first_record(path) or {}
    return _split_in(row) is not None and first(row, PICTURE) is not None


class Classes:
    """A table with a class for each picture."""

    def __init__(self, path: Path, reading: Reading = AS_FOUND) -> None:
        self.file = path
        self.reading = reading
        self.labels = labels_under(reading.policy)

    def counts(self) -> Counts:
        """How many images of each class there are; it reads everything once."""
        found = Counter("unusable" if row is None else _split_in(row) or "unusable" for _, row in self._rows())
        return Counts(policy=self.reading.policy, **found)

    def __length_hint__(self) -> int:
        return count_records(self.file)

    def __iter__(self) -> Iterator[Found]:
        places = Places.of(self.file, self.reading.root)
        for where, row in self._rows():
            found = _found(row, where, places, self.labels, self.file.name)
            if found is not None:
                yield found

    def _rows(self) -> Iterator[tuple[str, Record | None]]:
        return islice(read_records(self.file, self.reading.columns), self.reading.limit)


def _found(row: Record | None, where: str, places: Places, labels: Labels, table: str) -> Found | None:
    """The like or dislike in a row; None where the policy leaves its class out."""
    if row is None:
        return Found(where=where, problem=NO_OBJECT)
    split = _split_in(row)
    if split is None:
        return Found(where=where, problem=NO_CLASS)
    if labels[split] is None:
        return None
    try:
        picture = places.picture(first(row, PICTURE), "file_name")
        prompt, source = prompt_in(row), text_in(row, "source") or table
    except (UnreadablePicture, ValueError, RecursionError) as error:
        return Found(where=where, problem=str(error))
    return Found(
        where=where,
        image=picture.image,
        prompt=prompt,
        liked=labels[split],
        problem=picture.problem,
        source=source,
    )


def _split_in(row: Record) -> Split | None:
    cell = first(row, CLASS)
    word = cell.strip() if isinstance(cell, str) else None
    return next((split for split in SPLITS if split == word), None)
