"""Read likes from a folder that `datasets` saved with `save_to_disk`: one data set, or several splits of one.

The Arrow files are read directly: images keep their bytes, and a few rows at a time are in memory.
"""

from __future__ import annotations  # pyarrow is imported only when an Arrow file is met

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading.arrow import ROWS_AT_ONCE, ROWS_OF_LABELS_AT_ONCE, classes_in, rows_in
from thumbtune.feedback.reading.image_cells import image_in
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.options import Rows, Sheet, check_columns
from thumbtune.feedback.reading.reader import RowReader
from thumbtune.feedback.reading.record import Record, is_among
from thumbtune.feedback.reading.splits import chosen_split
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow

if TYPE_CHECKING:
    from pyarrow.ipc import RecordBatchStreamReader

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"  # as `datasets` names them
END_MARK = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of an Arrow stream: without it, the file is cut off
AGAIN = "save the data set again"


def recognises(path: Path) -> bool:
    """Return whether this is a folder that `datasets` saved."""
    try:
        return _is_one(path) or (path / SPLITS).is_file()
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return False


def _is_one(folder: Path) -> bool:
    """Return whether this is one data set, and not several splits."""
    return (folder / STATE).is_file() and (folder / INFO).is_file()


class SavedDataset:
    """A data set on this disk.

    Raises:
        UsageError: an option in `reading` is invalid, names a missing column, or names no split of several.
        ThumbtuneError: the folder is incomplete.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.path, self.reading = path, reading
        self.folder = _folder_of_split(path, reading.split)
        self.files = _arrow_files(self.folder)
        self._reader = RowReader(reading, self._label_rows, sample=lambda: _rows_of(self.files[0]))
        check_columns(path, self._reader.columns, (self._sheet(file) for file in self.files))

    def __length_hint__(self) -> int:
        try:
            number = sum(_count(file) for file in self.files)
        except ThumbtuneError:  # reading the rows raises it again
            return 0
        return number if self.reading.limit is None else min(number, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        return islice(self._rows(), self.reading.limit)

    def _rows(self) -> Iterator[SourceRow]:
        place = ImageRoot(self.folder, self.reading.root, survey=self._survey)
        image = partial(image_in, place=place, allow_download=self.reading.allow_download)
        for file in self.files:
            for number, row in enumerate(_rows_of(file), start=1):
                yield self._reader.read(row, f"{file.name}, row {number}", image, self.path.name or file.name)

    def described(self) -> list[str]:
        """Return which column was read as what."""
        return self._reader.described()

    def _survey(self, place: ImageRoot) -> bool:
        return self._reader.survey((row for file in self.files for row in _rows_of(file)), place)

    def _label_rows(self, columns: Sequence[str]) -> Rows:
        return (row for file in self.files for row in _rows_of(file, columns))

    def _sheet(self, file: Path) -> Sheet:
        with _opened(file) as stream:
            return file, list(stream.schema.names), _rows_of(file)


def _folder_of_split(path: Path, split: str | None) -> Path:
    """Return the folder of the data set itself.

    Raises:
        ThumbtuneError: there is none, or several and none is named.
    """
    if not _is_one(path):
        names = [name for name in _list_in(path / SPLITS, "splits") if _is_plain(name)]
        return path / chosen_split(names, split, str(path))
    own = _object_in(path / STATE).get("_split")
    if split is not None and split != own:
        raise UsageError(f"{path} has no splits; leave out --split {shown(split)}.", code="split-unknown")
    return path


def _is_plain(name: object) -> TypeGuard[str]:
    """Return whether this names an entry of a folder, and none outside it."""
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


def _arrow_files(folder: Path) -> list[Path]:
    """Return the files that the state of a data set names; they lie beside it.

    Raises:
        ThumbtuneError: it names none, one outside the folder, or a missing one; or the data set is too old.
    """
    if _object_in(folder / STATE).get("_indices_data_files"):
        raise ThumbtuneError(
            f"{folder} was saved by `datasets` before 2.0, with its rows in another order than its "
            f"files; load it with that version, call `flatten_indices()`, and {AGAIN}.",
            code="dataset-too-old",
        )
    entries = _list_in(folder / STATE, "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    files = [folder / name for name in names if _is_plain(name)]
    if len(files) != len(names) or not files or not all(_is_file(file) for file in files):
        raise ThumbtuneError(
            f"{folder / STATE} names Arrow files that its folder does not contain; {AGAIN}.",
            code="dataset-files-missing",
        )
    return files


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # ValueError: a zero byte or half a character in the name
        return False


def _list_in(file: Path, key: str) -> list[object]:
    items = _object_in(file).get(key)
    if not isinstance(items, list):
        raise ThumbtuneError(
            f"{file} has no list of {key!r}, as `datasets` writes it; {AGAIN}.", code="dataset-no-list"
        )
    return items


def _object_in(file: Path) -> dict[str, object]:
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise ThumbtuneError(
            f"{file} could not be read ({error.strerror or error}); check the file.", code="dataset-unreadable"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ThumbtuneError(f"{file} is not JSON; {AGAIN}.", code="dataset-state-invalid") from error
    return value if isinstance(value, dict) else {}


def _count(file: Path) -> int:
    with _opened(file) as stream:
        return sum(batch.num_rows for batch in stream)


def _rows_of(file: Path, columns: Sequence[str] | None = None) -> Iterator[Record]:
    """Yield the rows of a file. `columns`, in lower case, limits what is read.

    Raises:
        ThumbtuneError: the file is cut off, damaged, or no Arrow stream.
    """
    at_once = ROWS_AT_ONCE if columns is None else ROWS_OF_LABELS_AT_ONCE
    with _opened(file) as stream:
        classes = classes_in(stream.schema.metadata)
        names = enumerate(stream.schema.names)
        wanted = [number for number, name in names if columns is None or is_among(name, columns)]
        for whole in stream:
            batch = whole.select(wanted)
            batch.validate(full=True)  # an offset outside the file would end the process
            yield from rows_in(batch, classes, at_once)


@contextmanager
def _opened(file: Path) -> Iterator[RecordBatchStreamReader]:
    """Open a file as a stream of batches, mapped from the disk."""
    import pyarrow as pa

    try:
        _check_end(file)
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
            yield stream
    except (pa.ArrowException, UnicodeDecodeError) as error:  # Unicode: the name of a column
        raise ThumbtuneError(f"{file} is damaged; {AGAIN}.", code="dataset-damaged") from error
    except OSError as error:
        raise ThumbtuneError(
            f"{file} could not be read ({error.strerror or error}); check the file.", code="dataset-unreadable"
        ) from error


def _check_end(file: Path) -> None:
    with file.open("rb") as ending:
        ending.seek(-min(len(END_MARK), file.stat().st_size), 2)
        if ending.read() != END_MARK:
            raise ThumbtuneError(f"{file} is incomplete; {AGAIN}, or download the rest.", code="dataset-cut-off")
