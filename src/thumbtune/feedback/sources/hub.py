"""Read likes from a data set on the Hugging Face hub as a stream: only imported images are stored on this disk.

Its address is `hf://datasets/OWNER/NAME`, with `@REVISION` and `/CONFIGURATION` after it if needed, the address of its
page, or OWNER/NAME alone. Only formats of rows and images are read; none can run code.
"""

from __future__ import annotations  # `datasets` takes a second to import, so only functions that need it do so

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback import images
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading.arrow import ROWS_AT_ONCE, Classes, with_classes
from thumbtune.feedback.reading.columns import COLUMNS
from thumbtune.feedback.reading.image_cells import image_in, is_image, unwrapped
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.options import Rows, check_columns
from thumbtune.feedback.reading.reader import RowReader
from thumbtune.feedback.reading.record import Record, is_among, lowered_name, record_of
from thumbtune.feedback.reading.rows import kind_of
from thumbtune.feedback.reading.splits import chosen_split
from thumbtune.feedback.source import DEFAULT_READING, Bytes, Reading, SourceRow
from thumbtune.feedback.sources.samples import SAMPLE_COLUMNS, flattened

if TYPE_CHECKING:
    from datasets import DatasetBuilder, IterableDataset

FORMATS = ("parquet", "arrow", "json", "csv", "imagefolder", "webdataset")  # the names of `datasets`' readers
ADDRESS_FORM = "write it like hf://datasets/OWNER/NAME"

_ADDRESS = re.compile(
    r"(?P<prefix>(hf:/{1,2}|https:/{1,2}huggingface\.co/)datasets/)?"  # a Path has one slash left of two
    r"(?P<name>\w[\w.-]*/\w[\w.-]*)"
    r"(@(?P<revision>refs/(convert|pr)/[\w.-]+|[\w.-]+))?(/(?P<configuration>\w[\w.-]*))?/?",
    re.ASCII,
)
_NAMED = re.compile(r"(zip://[^:]*::)?hf://datasets/(?P<name>[^/@]+/[^/@]+)(@[^/]+)?/.*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A data set on the hub; None is the default revision or configuration. `certain`: it can be no local path."""

    name: str
    revision: str | None
    configuration: str | None
    certain: bool

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        configuration = f"/{self.configuration}" if self.configuration else ""
        return f"hf://datasets/{self.name}{revision}{configuration}"


def address_in(path: Path | str) -> Address | None:
    """Return the address that a text is or may be; None if it cannot be one."""
    named = _ADDRESS.fullmatch(path.as_posix() if isinstance(path, Path) else path)
    if named is None or (named["configuration"] and not named["prefix"]):
        return None
    return Address(
        name=named["name"],
        revision=named["revision"],
        configuration=named["configuration"],
        certain=named["prefix"] is not None,
    )


def recognises(path: Path) -> bool:
    """Return whether this certainly names a data set on the hub."""
    address = address_in(path)
    return address is not None and address.certain


def may_name(path: Path) -> bool:
    """Return whether this may be OWNER/NAME on the hub: no local path has the name, and it has no table's suffix."""
    try:
        return address_in(path) is not None and kind_of(path) is None and not path.exists()
    except (OSError, ValueError):
        return False


class HubDataset:
    """One split of a data set on the hub.

    Raises:
        UsageError: this is no address, or there are several splits and none is named, or as `RowReader`.
        ThumbtuneError: there is no network, no such data set, no right to read it, or no format that is read.
    """

    def __init__(self, path: Path | str, reading: Reading = DEFAULT_READING) -> None:
        address = address_in(path)
        if address is None:
            raise UsageError(
                f"{shown(str(path))} is not the address of a data set on the hub; {ADDRESS_FORM}.",
                code="hub-not-address",
            )
        self.address, self.reading = address, reading
        names = SAMPLE_COLUMNS if self._kind == "webdataset" else COLUMNS
        self._reader = RowReader(reading, self._label_rows, names)
        header = None if self._kind == "webdataset" else self._stream.column_names
        check_columns(self.address, self._reader.columns, [(self.address, header, self._rows())])

    def __length_hint__(self) -> int:
        return 0  # the hub often does not report it

    def __iter__(self) -> Iterator[SourceRow]:
        return islice(self._source_rows(), self.reading.limit)

    def _source_rows(self) -> Iterator[SourceRow]:
        for number, row in enumerate(self._rows(), start=1):
            yield self._reader.read(row, f"{self.address}, row {number}", self._image, self.address.name)

    def described(self) -> list[str]:
        """Return which column was read as what."""
        return self._reader.described()

    @cached_property
    def _builder(self) -> DatasetBuilder:
        return _builder_of(self.address)

    @property
    def _kind(self) -> str:
        return self._builder.name

    @cached_property
    def _stream(self) -> IterableDataset:
        return self._opened()

    def _opened(self, columns: Sequence[str] | None = None) -> IterableDataset:
        """Open the wanted split, with images as their stored bytes; of some columns alone, if the format can."""
        builder = self._builder if columns is None else _builder_of(self.address)
        if builder.name == "parquet":
            config: Any = builder.config
            config.batch_size = ROWS_AT_ONCE  # otherwise, the number that its writer chose
            config.columns = columns and list(columns)
        try:
            splits: Any = builder.as_streaming_dataset()
        except Exception as error:  # `datasets` raises errors of any type, over servers and damaged files
            raise _not_opened(self.address, error) from error
        stream = splits[chosen_split([str(name) for name in splits], self.reading.split, str(self.address))]
        return stream.decode(False) if stream.features else stream

    def _label_rows(self, columns: Sequence[str]) -> Rows:
        if self._kind != "parquet":
            return islice(self._rows(), self.reading.limit)  # with a limit, no more is downloaded
        names = self._stream.column_names or []
        rows = self._rows(self._opened([name for name in names if is_among(name, columns)]))
        return islice(rows, self.reading.limit)

    def _rows(self, stream: IterableDataset | None = None) -> Iterator[Record]:
        number, rows = 0, iter(self._stream if stream is None else stream)
        classes = _classes_of(self._stream)
        while True:
            try:
                cells = next(rows, None)
            except Exception as error:  # as above
                raise ThumbtuneError(
                    f"The download of {self.address} stopped after row {number} ({_brief(error)}); run the same "
                    "command again.",
                    code="hub-broke-off",
                ) from error
            if cells is None:
                return
            number += 1
            row = with_classes(record_of(cells.items()), classes)
            yield flattened(row) if self._kind == "webdataset" else row

    def _image(self, cell: object) -> Bytes:
        """Return a function that reads the image in a cell, or the file that it names in the same data set.

        A data set must neither make us fetch from elsewhere nor read local files.
        """
        named = unwrapped(cell)
        if isinstance(named, str) and not is_image(named):
            on_the_hub = _NAMED.fullmatch(named)
            if on_the_hub and on_the_hub["name"].lower() == self.address.name.lower() and ".." not in named:
                return partial(_fetched, named)
            if "://" not in named or named.lower().startswith("file:"):
                raise UnreadableImage(
                    f"{shown(named)} is only a file name; download the data set and import its folder"
                )
        return image_in(cell, ImageRoot(Path()), self.reading.allow_download)


def _builder_of(address: Address) -> DatasetBuilder:
    """Return the reader of `datasets` for a data set.

    Raises:
        UsageError: a local folder has the same name.
        ThumbtuneError: there is no network, no such data set, no right to read it, or no format that is read.
    """
    if Path(address.name).exists():
        raise UsageError(
            f"The current folder contains {address.name}, which `datasets` would read instead; run this command "
            "from another folder.",
            code="hub-local-folder",
        )
    try:
        builder = _from_hub(address)
    except Exception as error:  # of a network, of a server, of `datasets`
        raise _not_opened(address, error) from error
    if builder.name not in FORMATS:
        raise ThumbtuneError(
            f"{address} contains files that are read as {builder.name}, which has no images with labels; "
            f"they are read from {', '.join(FORMATS[:-1])} and {FORMATS[-1]}.",
            code="hub-unsupported",
        )
    return builder


def _from_hub(address: Address) -> DatasetBuilder:
    """Ask the hub for a data set. No other function does."""
    from datasets import load_dataset_builder

    return load_dataset_builder(address.name, address.configuration, revision=address.revision)


def _fetched(address: str) -> bytes:
    """Return the bytes of a file on the hub.

    Raises:
        UnreadableImage: it is too large, or cannot be fetched.
    """
    import fsspec

    try:
        with fsspec.open(address, "rb") as file:
            data: bytes = file.read(images.MAX_BYTES + 1)  # type: ignore[union-attr]
    except Exception as error:  # of a network, of a server, of an archive
        raise UnreadableImage(f"it could not be fetched ({_brief(error)}); run the same command again") from error
    if len(data) > images.MAX_BYTES:
        raise UnreadableImage(f"it is larger than {images.MAX_BYTES // 1_000_000} MB; make it smaller")
    return data


def _classes_of(stream: IterableDataset) -> Classes:
    from datasets import ClassLabel

    features = stream.features or {}
    classes = {name: feature for name, feature in features.items() if isinstance(feature, ClassLabel)}
    return {lowered_name(name): list(feature.names) for name, feature in classes.items()}


def _not_opened(address: Address, error: Exception) -> ThumbtuneError:
    return ThumbtuneError(
        f"{address} could not be opened ({_brief(error)}); check its name, the network, and whether you must log in "
        "with `hf auth login`.",
        code="hub-not-opened",
    )


def _brief(error: Exception) -> str:
    """Return the first two lines of a library's error: what is wrong, and what exists instead."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:300]}".rstrip(" :.")
