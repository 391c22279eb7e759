"""Read likes from a folder of Parquet files, in the layout of the Hugging Face hub."""

from collections.abc import Iterator
from operator import length_hint
from pathlib import Path

from thumbtune.errors import UsageError
from thumbtune.feedback.quoting import listed
from thumbtune.feedback.reading.splits import configurations, files_of_split, parquet_files
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.table import Table


def recognises(path: Path) -> bool:
    """Return whether this is a folder of Parquet files, or of folders with some."""
    try:
        return path.is_dir() and bool(parquet_files(path) or configurations(path))
    except (OSError, ValueError):
        return False


class ParquetFolder:
    """The Parquet files of one split. Images that a row names lie below the folder of its file, or the given root.

    Raises:
        UsageError: there are several data sets or splits and none is named, or as `Table`.
        ThumbtuneError: there are no Parquet files, or one cannot be read.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        if not parquet_files(path) and (names := configurations(path)):
            raise UsageError(
                f"{path} contains several data sets ({listed(names)}); give the folder of one.", code="datasets-several"
            )
        self.table = Table(files_of_split(path, reading.split), reading)

    def __length_hint__(self) -> int:
        return length_hint(self.table)

    def __iter__(self) -> Iterator[SourceRow]:
        return iter(self.table)

    def described(self) -> list[str]:
        """Return which column was read as what."""
        return self.table.described()
