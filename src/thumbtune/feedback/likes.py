"""The table that training reads: one row per label, as a Hugging Face `datasets.Dataset`.

Its columns follow the ecosystem's "unpaired preference" convention (image, prompt, label), plus what else the store
has. Images stay in their files and are decoded when a row is read.
"""

from __future__ import annotations  # `datasets` takes a second to import, so only functions that need it do so

import hashlib
import json
import shutil
import tempfile
import unicodedata
import weakref
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from PIL import UnidentifiedImageError

from thumbtune.clips import first_frame
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.held_images import is_held, read_held
from thumbtune.feedback.policies import POLICIES, RATER_PREFIX, apply_policy, check_policy
from thumbtune.feedback.quoting import listed
from thumbtune.feedback.store.image_storage import unreadable
from thumbtune.feedback.store.store import Label, Store
from thumbtune.feedback.temporary import prefix_of
from thumbtune.files import may_write, sha256, sweep, write_whole
from thumbtune.images import upright_size

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features
    from PIL.Image import Image

ROWS_AT_ONCE = 5000
MAX_NAMED_RATERS = 10
VALIDATION_SHARE = 0.2  # of prompts; the default of train.validation_share
NO_PROMPTS: Mapping[str, str] = MappingProxyType({})
WITHOUT_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
FORM = 1  # of the table; a new number makes all tables again


@dataclass(frozen=True, kw_only=True)
class Split:
    """The rows for training and the held-out rows; they share no prompt."""

    train: Dataset
    held_out: Dataset


def likes_of(store: Store, policy: str = "majority", *, keep: bool = True) -> Dataset:
    """Return the labels in the store as a table, in the order in which the images were added.

    The table is written into the store's folder, a few thousand rows at a time, and memory-mapped. It is made again
    after new votes. The table of a server or of a read-only store lives as long as the program.

    Args:
        store: where the votes are.
        policy: which label an image gets that several raters rated (policies.py).
        keep: whether the table stays in the store's folder for the next time; a dry run must leave nothing there.

    Raises:
        UsageError: the policy does not exist, or the rater in `rater:NAME` has rated nothing.
        ThumbtuneError: the store cannot be read, or the disk is full.
    """
    from datasets import Dataset

    check_policy(policy)
    tables = store.tables
    if tables is None or not keep or not may_write(tables.parent):
        temporary = Path(tempfile.mkdtemp(prefix=prefix_of("likes")))
        likes = Dataset.from_file(str(_write(store, policy, temporary / "likes.arrow")))
        weakref.finalize(likes, shutil.rmtree, temporary, ignore_errors=True)  # mapped files stay readable
        return likes
    before = store.state()
    state = sha256(json.dumps([FORM, policy, *before]).encode())[:16]
    name = policy if policy in POLICIES else f"rater-{sha256(policy.encode())[:16]}"  # not all names are file names
    file = tables / f"{name}-{state}.arrow"
    if not file.is_file():
        for old in tables.glob(f"{name}-*.arrow"):
            old.unlink(missing_ok=True)
        sweep(tables)
        _write(store, policy, file)
    likes = Dataset.from_file(str(file))
    if store.state()[0] < before[0]:  # a rater was erased meanwhile, whom the table may still name
        with suppress(OSError):
            file.unlink(missing_ok=True)  # mapped files stay readable
    return likes


def _write(store: Store, policy: str, file: Path) -> Path:
    """Write the table as an Arrow stream, which `datasets` memory-maps, and return its file."""
    import pyarrow as pa

    schema = likes_features().arrow_schema
    _check_rater(store, policy)
    rows = (_row(label, store) for label in apply_policy(store.labels(), policy))

    def write(partial: Path) -> None:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            while part := list(islice(rows, ROWS_AT_ONCE)):
                cells = zip(zip(*part, strict=True), schema.types, strict=True)
                columns = [pa.array(column, kind) for column, kind in cells]
                stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

    return write_whole(file, write, durable=True)


def _check_rater(store: Store, policy: str) -> None:
    """Refuse the policy of a rater who is not in the store, unless the store is empty."""
    raters = store.busiest_raters(MAX_NAMED_RATERS)
    if policy.startswith(RATER_PREFIX) and raters and not any(apply_policy(store.labels(), policy)):
        raise UsageError(
            f"{policy.removeprefix(RATER_PREFIX)} has rated no image in this store; the raters with the most votes "
            f"are {listed(raters)}.",
            code="rater-unknown",
        )


def likes_features() -> Features:
    """Return the columns of the table and their types."""
    from datasets import Features, Image, Value

    return Features(
        {
            "image": Image(),
            "image_id": Value("string"),
            "prompt": Value("string"),
            "label": Value("bool"),
            "weight": Value("float32"),
            "grade": Value("float32"),
            "rater": Value("string"),
            "seed": Value("int64"),
            "model": Value("string"),
            "source": Value("string"),
            "created_at": Value("timestamp[us, tz=UTC]"),
        }
    )


def _row(label: Label, store: Store) -> tuple[object, ...]:
    """Return the cells of a label, in the order of `likes_features`."""
    image = label.image
    cell = {"bytes": None, "path": store.address_of(image)}
    said = (label.liked, label.weight, label.grade, label.rater)
    return cell, image.sha256, image.prompt, *said, image.seed, image.model, image.source, label.created_at


def image_of(likes: Dataset, row: int) -> Image:
    """Return the decoded image of a row; of an animation or a video, its first frame.

    Raises:
        ThumbtuneError: the file is missing, or no longer an image; or it is a video, and PyAV is missing.
    """
    path, content = cell_of(likes, row)
    if is_held(path):
        with opened_cell(path, content) as file:
            return first_frame(file)
    try:
        return likes[row]["image"]
    except OSError as error:
        if isinstance(error, UnidentifiedImageError):  # a video, perhaps
            with opened_cell(path, content) as file:
                return first_frame(file)
        raise unreadable(str(path), error) from error


def cell_of(likes: Dataset, row: int) -> tuple[str | None, bytes | None]:
    """Return the path or the URL of a row's file, and its bytes if they are in the table."""
    cell = likes.select_columns(["image"]).with_format("arrow")[row : row + 1]["image"][0]
    return cell["path"].as_py(), cell["bytes"].as_py()


def sizes_of(likes: Dataset) -> list[tuple[int, int]]:
    """Return height and width of every image, upright, mostly without decoding it. Each file is opened once.

    Raises:
        ThumbtuneError: a file is missing, or no longer an image.
    """
    by_path: dict[str, tuple[int, int]] = {}  # logs and tables repeat an image for each prompt and rater
    sizes = []
    for cell in _column(likes, "image"):
        path, content = cell["path"], cell["bytes"]
        if content is not None or path is None:
            sizes.append(_size_of(path, content))
            continue
        if path not in by_path:
            by_path[path] = _size_of(path, None)
        sizes.append(by_path[path])
    return sizes


def _size_of(path: str | None, content: bytes | None) -> tuple[int, int]:
    with opened_cell(path, content) as file:
        return upright_size(file)


@contextmanager
def opened_cell(path: str | None, content: bytes | None) -> Iterator[Path | BinaryIO]:
    """Give the file of a row, and turn errors of reading it inside the `with` block into one that names it.

    Raises:
        ThumbtuneError: it is missing, or no longer an image.
    """
    try:
        if content is not None:
            yield BytesIO(content)
        elif is_held(path):
            yield BytesIO(read_held(str(path)))
        elif "://" not in str(path):
            yield Path(str(path))
        else:
            import fsspec

            try:
                opened = fsspec.open(path, "rb")
            except (ImportError, ValueError) as error:  # no package opens such addresses
                raise OSError(str(error)) from error
            with opened as file:
                yield cast("BinaryIO", file)
    except OSError as error:
        raise unreadable(str(path), error) from error


def split(
    likes: Dataset,
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
    same_as: Mapping[str, str] = NO_PROMPTS,
) -> Split:
    """Split the rows by prompt into training and held-out rows; the side depends on the prompt and the seed alone.

    So new likes never move an old prompt, and the share of held-out prompts is `validation_share` only on average.

    Args:
        same_as: prompts that are another one for the model, which decides their side.

    Raises:
        ThumbtuneError: `validation_share` is not in [0, 1).
    """
    if not 0 <= validation_share < 1:
        raise ThumbtuneError(
            f"validation_share must be at least 0 and below 1, not {validation_share}; try 0.2.",
            code="split-bad-share",
        )
    sides = (array("q"), array("q"))  # 8 bytes a row, and no prompts in memory: there may be a million rows
    for index, prompt in enumerate(_column(likes, "prompt")):
        sides[is_held_out(same_as.get(prompt, prompt), validation_share, seed)].append(index)
    return Split(train=likes.select(sides[0]), held_out=likes.select(sides[1]))


def is_held_out(prompt: str, validation_share: float = VALIDATION_SHARE, seed: int = 0) -> bool:
    """Return whether a prompt is held out."""
    return _fraction(f"{seed}:{alike(prompt)}") < validation_share


def alike(prompt: str) -> str:
    """Return a prompt in normal form: "A cat." and "a  cat" must not lie on different sides of the split.

    Accents are joined with their letters, as CLIP's tokenizer does, and letters without width are left out.
    """
    plain = prompt if prompt.isascii() else unicodedata.normalize("NFC", prompt).translate(WITHOUT_WIDTH)
    return " ".join(plain.casefold().split()).rstrip(" .!")


def _fraction(text: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _column(likes: Dataset, name: str) -> Iterator[Any]:
    """Yield the cells of one column, some thousand at a time, without reading the images."""
    for part in likes.select_columns([name]).with_format("arrow").iter(ROWS_AT_ONCE):
        yield from cast("pa.Table", part).column(name).to_pylist()
