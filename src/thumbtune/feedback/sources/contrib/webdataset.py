"""Read likes from shards of WebDataset: tar archives in which the files of one stem are one sample.

`000123.png` has its prompt in `000123.txt` or in `000123.json` (prompt, caption, text), its label there (label,
liked) or in `000123.cls` (0 or 1). That JSON may hold all other columns of a table. Archives are read as streams.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading.image_cells import image_in
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.options import Rows, check_columns
from thumbtune.feedback.reading.reader import RowReader
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.reading.splits import UNNAMED, WORDS, chosen_split
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.contrib.braces import expanded, has_braces
from thumbtune.feedback.sources.contrib.tar_stream import BrokenArchive, open_tar
from thumbtune.feedback.sources.contrib.webdataset_samples import Sample, UnusableSample, samples_of, text_suffixes
from thumbtune.feedback.sources.samples import SAMPLE_COLUMNS

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")


def recognises(path: Path) -> bool:
    """Return whether this is an archive by its name, several by a name with braces, or a folder of them."""
    try:
        return (has_braces(path.as_posix()) and _is_shard(path)) or bool(_shards_at(path))
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return False


def _is_shard(path: Path) -> bool:
    return path.name.lower().endswith(SHARD_SUFFIXES) and not path.name.startswith(".")


def _shards_at(path: Path) -> list[Path]:
    """Return the archive itself, or those of a folder (or of `data/` in it, as on the hub) in order of name."""
    if path.is_file():
        return [path] if _is_shard(path) else []
    for folder in (path, path / "data"):
        if shards := sorted(file for file in folder.glob("*") if _is_shard(file) and file.is_file()):
            return shards
    return []


def shards_of(path: Path, split: str | None = None) -> list[Path]:
    """Return the archives that a path names.

    Raises:
        UsageError: there are several splits and none is named, or a name with braces stands for too many.
        ThumbtuneError: there are no archives, or a named one is missing.
    """
    shards = _shards_at(path)
    if not shards and has_braces(path.as_posix()):
        shards = [Path(name) for name in expanded(path.as_posix())]
        if missing := next((shard for shard in shards if not shard.is_file()), None):
            raise ThumbtuneError(
                f"{missing} is missing from {path}; download it, or name only the existing files.", code="shard-missing"
            )
        return shards
    if not shards:
        raise ThumbtuneError(
            f"{path} contains no archives ({', '.join(SHARD_SUFFIXES)}); give an archive or a folder of archives.",
            code="shards-missing",
        )
    splits: dict[str, list[Path]] = {}
    for shard in shards if path.is_dir() else ():
        words = re.split("[^a-z]+", shard.name.lower())
        splits.setdefault(next((word for word in words if word in WORDS), UNNAMED), []).append(shard)
    return splits[chosen_split(splits, split, str(path))] if splits else shards


class WebDataset:
    """One archive, several by a name with braces, or a folder of them.

    Raises:
        UsageError: an option in `reading` is invalid, names a missing column, or names no split of several.
        ThumbtuneError: there are no archives, or one is damaged.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.reading = reading
        self.shards = shards_of(path, reading.split)
        self._reader = RowReader(reading, lambda _: islice(self._label_rows(), reading.limit), SAMPLE_COLUMNS)
        self._texts = text_suffixes(self._reader.columns)
        check_columns(path, self._reader.columns, [(path, None, self._label_rows())])

    def __length_hint__(self) -> int:
        return 0  # an archive does not store its number of files

    def __iter__(self) -> Iterator[SourceRow]:
        return islice((each for shard in self.shards for each in self._rows_of(shard)), self.reading.limit)

    def _rows_of(self, shard: Path) -> Iterator[SourceRow]:
        root = ImageRoot(shard.parent, self.reading.root)
        image = partial(image_in, place=root, allow_download=self.reading.allow_download)
        for sample in _samples_in(shard, self._texts):
            where = f"{shard.name}, {sample.shown}"
            try:
                row = self._row(sample)
            except UnusableSample as error:
                yield SourceRow(where=where, problem=str(error))
            else:
                yield self._reader.read(row, where, image, shard.name)

    def _row(self, sample: Sample) -> Record:
        row = sample.row()
        if "image" in self._reader.columns.mapped:
            return row
        others = {name: cell for name, cell in row.items() if name not in SAMPLE_COLUMNS["image"]}
        return {**others, "image": sample.image()}

    def described(self) -> list[str]:
        """Return which column was read as what."""
        return self._reader.described()

    def _label_rows(self, columns: Sequence[str] = ()) -> Rows:
        """Yield the rows without their images. All columns are read, as `columns` names files of a sample too."""
        for shard in self.shards:
            for sample in _samples_in(shard, self._texts, with_images=False):
                try:
                    yield sample.row()
                except UnusableSample:  # reading the sample reports it
                    yield None


def _samples_in(shard: Path, texts: frozenset[str], with_images: bool = True) -> Iterator[Sample]:
    """Yield every sample of a shard, with one in memory at a time.

    Raises:
        ThumbtuneError: the shard is cut off, damaged, no archive, or the disk fails.
    """
    number, place = 0, "before its first sample"
    try:
        with open_tar(shard) as stream:
            for sample in samples_of(stream, texts, with_images):
                number += 1
                place = f"after sample {number}, {sample.shown}"
                yield sample
    except BrokenArchive as error:
        raise ThumbtuneError(
            f"{shard} is a damaged tar archive ({error} {place}); download it again, or pack it again.",
            code="archive-damaged",
        ) from error
    except OSError as error:
        raise ThumbtuneError(
            f"{shard} could not be read ({error.strerror or error}); check the file.", code="archive-unreadable"
        ) from error
