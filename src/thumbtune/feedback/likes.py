"""The table that training reads: one row per image and thumb, as a Hugging Face `datasets.Dataset`.

Its columns follow the ecosystem's "unpaired preference" convention (image, prompt, label), with whatever else
is known. Images stay in their files: a row is decoded when it is read.
"""

from __future__ import (
    annotations,
)  # `datasets` takes a second to import, so only functions that need it do so

import hashlib
import json
import shutil
import tempfile
import weakref
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.policies import ONE, POLICIES, check_policy, labelled
from thumbtune.feedback.shown import listed
from thumbtune.feedback.store.places import unreadable
from thumbtune.feedback.store.store import Opinion, Store
from thumbtune.files import may_write, sha256, write_whole

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features
    from PIL.Image import Image

ROWS_AT_ONCE = 5000
MOST_NAMED = 10
FORM = 1  # of the table; another one makes all tables anew


@dataclass(frozen=True, kw_only=True)
class Split:
    """Two tables that share no prompt."""

    train: Dataset
    held_out: Dataset


@dataclass(frozen=True, kw_only=True)
class Description:
    """How much a table holds."""

    n: int
    likes: int
    dislikes: int
    prompts: int


def likes_of(store: Store, policy: str = "majority", *, keep: bool = True) -> Dataset:
    """The last words in the store as a table, in the order in which the images came.

    It is written into the store's folder, a few thousand rows at a time, and memory-mapped from there; it is made anew
    when somebody has voted. A server's, and one of a store that may only be read, lives as long as the program.

    Args:
        store: where the votes are.
        policy: which label an image gets that several people rated (policies.py).
        keep: whether the table stays in the store's folder for the next time; a rehearsal must leave nothing there.

    Raises:
        UsageError: there is no such policy, or nobody of the name in `rater:NAME` has rated anything.
        ThumbtuneError: the store cannot be read, or the disk is full.
    """
    from datasets import Dataset

    check_policy(policy)
    tables = store.tables
    if tables is None or not keep or not may_write(tables.parent):
        passing = Path(tempfile.mkdtemp(prefix="thumbtune-likes-"))
        likes = Dataset.from_file(str(_write(store, policy, passing / "likes.arrow")))
        weakref.finalize(likes, shutil.rmtree, passing, ignore_errors=True)  # what is mapped stays readable
        return likes
    state = sha256(json.dumps([FORM, policy, *store.state()]).encode())[:16]
    name = policy if policy in POLICIES else f"rater-{sha256(policy.encode())[:16]}"  # some names are no file names
    file = tables / f"{name}-{state}.arrow"
    if not file.is_file():
        for old in tables.glob(f"{name}-*.arrow"):
            old.unlink(missing_ok=True)
        _write(store, policy, file)
    return Dataset.from_file(str(file))


def _write(store: Store, policy: str, file: Path) -> Path:
    """The table as an Arrow stream, which `datasets` maps into memory."""
    import pyarrow as pa

    schema = likes_features().arrow_schema
    _check_rater(store, policy)
    rows = (_row(opinion, store) for opinion in labelled(store.rows(), policy))

    def write(partial: Path) -> None:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            while some := list(islice(rows, ROWS_AT_ONCE)):
                stream.write_batch(pa.RecordBatch.from_pylist(some, schema))

    return write_whole(file, write)


def _check_rater(store: Store, policy: str) -> None:
    """Refuse the policy of a rater who is not in the store, unless nobody is."""
    raters = store.busiest(MOST_NAMED)
    if policy.startswith(ONE) and raters and not any(labelled(store.rows(), policy)):
        raise UsageError(
            f"{policy.removeprefix(ONE)} has rated no image of these likes; those who rated most: {listed(raters)}."
        )


def likes_features() -> Features:
    """The columns of the table and their types."""
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


def _row(opinion: Opinion, store: Store) -> dict[str, object]:
    image = opinion.image
    return {
        "image": {"bytes": None, "path": store.address_of(image)},
        "image_id": image.sha256,
        "prompt": image.prompt,
        "label": opinion.liked,
        "weight": opinion.weight,
        "grade": opinion.grade,
        "rater": opinion.rater,
        "seed": image.seed,
        "model": image.model,
        "source": image.source,
        "created_at": opinion.created_at,
    }


def image_of(likes: Dataset, row: int) -> Image:
    """The image in a row, decoded.

    Raises:
        ThumbtuneError: its file is gone, or no longer an image.
    """
    try:
        return likes[row]["image"]
    except OSError as error:
        path = likes.select_columns(["image"]).with_format("arrow")[row : row + 1]["image"][0]["path"]
        raise unreadable(str(path), error) from error


def split(likes: Dataset, held_out: float = 0.2, seed: int = 0) -> Split:
    """Set prompts aside for evaluation. A prompt's side depends on the prompt and the seed alone.

    So new likes never move an old prompt across, and the share held out is `held_out` only on average.

    Raises:
        ThumbtuneError: `held_out` is not a share.
    """
    if not 0 <= held_out < 1:
        raise ThumbtuneError(
            f"held_out is the share of prompts set aside and lies from 0 up to 1, not at {held_out}; try 0.2."
        )
    sides = (array("q"), array("q"))  # eight bytes a row, and no prompt is kept: there may be a million
    for index, prompt in enumerate(_column(likes, "prompt")):
        sides[_fraction(f"{seed}:{alike(prompt)}") < held_out].append(index)
    return Split(train=likes.select(sides[0]), held_out=likes.select(sides[1]))


def alike(prompt: str) -> str:
    """A prompt without what does not change it: "A cat." and "a  cat" must not lie on different sides."""
    return " ".join(prompt.casefold().split()).rstrip(" .!")


def _fraction(text: str) -> float:
    """A number in [0, 1) that is as good as random and always the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def describe(likes: Dataset) -> Description:
    """Count rows, likes, dislikes and different prompts."""
    liked = sum(map(bool, _column(likes, "label")))
    prompts = len(set(_column(likes, "prompt")))
    return Description(n=len(likes), likes=liked, dislikes=len(likes) - liked, prompts=prompts)


def _column(likes: Dataset, name: str) -> Iterator[Any]:
    """The cells of one column, some thousand at a time, without touching the images beside it."""
    for part in likes.select_columns([name]).with_format("arrow").iter(ROWS_AT_ONCE):
        yield from cast("pa.Table", part).column(name).to_pylist()
