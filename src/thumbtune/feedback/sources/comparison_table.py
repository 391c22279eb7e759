"""Read a table in which each row compares images of one prompt. Pairs and rankings differ only in how a row is read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.columns import Columns, beginnings
from thumbtune.feedback.reading.columns_read import columns_read
from thumbtune.feedback.reading.details import Details
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.options import check_columns, check_reading, sheets_of
from thumbtune.feedback.reading.rows import Record, count_rows, read_rows, why_broken
from thumbtune.feedback.reading.splits import files_of_split
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.judgements import JudgedImages, Judgement, unusable_judgement
from thumbtune.feedback.sources.preferences import ComparisonCounts


class ComparisonTable(ABC):
    """A table of comparisons, or a folder with the Parquet files of one split of them.

    Raises:
        UsageError: an option in `reading` is invalid, or names a column that the table lacks.
        ThumbtuneError: a file cannot be read, or no split is named.
    """

    column_names: dict[str, tuple[str, ...]]  # the names that each column may have

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.files = files_of_split(path, reading.split) if path.is_dir() else [path]
        self.reading = reading
        self.columns = Columns(reading.columns, self.column_names)
        self._judged = JudgedImages(self._judgements, reading)
        self._details = Details(self._times)
        check_reading(reading)
        check_columns(self.files[0], self.columns, sheets_of(self.files, reading.encoding))

    def counts(self) -> ComparisonCounts:
        """Count the comparisons, and the images of each class. It reads everything once."""
        return self._judged.counts()

    def __length_hint__(self) -> int:
        rows = sum(count_rows(file) for file in self.files)
        return 2 * (rows if self.reading.limit is None else min(rows, self.reading.limit))  # at least two images a row

    def described(self) -> list[str]:
        """Return which column was read as what."""
        return columns_read(self.columns)

    def _times(self) -> Iterator[object]:
        """Yield the cells of all columns of times."""
        columns = [part for name in self.columns.names["created_at"] for part in beginnings(name)]
        for file in self.files:
            for _, row in read_rows(file, encoding=self.reading.encoding, columns=columns):
                yield from (cell for _, cell in self.columns.filled_in(row or {}, "created_at"))

    def __iter__(self) -> Iterator[SourceRow]:
        return iter(self._judged)

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield the rows and the images that the policy leaves out."""
        return self._judged.with_unrated()

    def _judgements(self) -> Iterator[Judgement]:
        for file in self.files:
            place = self._root_of(file)
            for where, row in read_rows(file, encoding=self.reading.encoding):
                yield self._judgement(row, where, file, place)

    def _survey(self, place: ImageRoot) -> bool:
        """Look for the images of all rows."""
        with suppress(ThumbtuneError):  # reading the rows raises it again
            for file in self.files:
                for where, row in read_rows(file, encoding=self.reading.encoding):
                    self._judgement(row, where, file, place)
        return True

    def _root_of(self, file: Path) -> ImageRoot:
        """Return where the images of a table lie."""
        return ImageRoot(file.parent, self.reading.root, survey=self._survey)

    def _judgement(self, row: Record | None, where: str, file: Path, place: ImageRoot) -> Judgement:
        """Return the judgement in a row; the row is None if it is broken."""
        if row is None:
            return Judgement(where=where, problem=why_broken(file))
        try:
            return self._judgement_in(row, where, file, place)
        except (UnreadableImage, ValueError, RecursionError) as error:
            return unusable_judgement(where, error)

    @abstractmethod
    def _judgement_in(self, row: Record, where: str, file: Path, place: ImageRoot) -> Judgement:
        """Return the judgement in a whole row.

        Raises:
            UnreadableImage, ValueError, RecursionError: the row cannot be used.
        """
