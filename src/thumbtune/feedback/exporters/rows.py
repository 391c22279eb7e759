"""Rows of an export: what they hold, and which rows share a file."""

from __future__ import annotations  # `datasets` takes a second to import, so only functions that need it do so

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from thumbtune.feedback.store.store import Opinion

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features

SHARD_BYTES = 500_000_000
BATCH_BYTES = 32_000_000  # of images that are in memory at once
ROW_BYTES = 1000  # about what the cells of a row take beside its image


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: its cells, the bytes of its image as they came, and the name of that as a file."""

    cells: dict[str, object]
    image: bytes
    name: str


def row_of(opinion: Opinion, image: bytes) -> Row:
    """An opinion as a row."""
    about = opinion.image
    cells: dict[str, object] = {
        "prompt": about.prompt,
        "label": opinion.liked,
        "rater": opinion.rater,
        "weight": opinion.weight,
        "grade": opinion.grade,
        "reason": opinion.reason,
        "pair": opinion.pair,
        "seed": about.seed,
        "model": about.model,
        "source": about.source,
        "created_at": opinion.created_at,
        "vote_id": opinion.vote_id,
        "image_id": about.sha256,
    }
    return Row(cells=cells, image=image, name=f"{about.sha256}{PurePosixPath(about.file).suffix}")


def features() -> Features:
    """The columns and their types, for `datasets`; numbers are as exact as the store has them."""
    from datasets import Features, Image, Value

    texts = ("rater", "reason", "pair", "model", "source", "vote_id", "image_id")
    types = {name: Value("string") for name in texts}
    return Features(
        {
            "image": Image(),
            "prompt": Value("string"),
            "label": Value("bool"),
            "rater": types["rater"],
            "weight": Value("float64"),
            "grade": Value("float64"),
            "reason": types["reason"],
            "pair": types["pair"],
            "seed": Value("int64"),
            "model": types["model"],
            "source": types["source"],
            "created_at": Value("timestamp[us, tz=UTC]"),
            "vote_id": types["vote_id"],
            "image_id": types["image_id"],
        }
    )


def in_shards(rows: Iterable[Row], most_bytes: int) -> Iterator[Iterator[Row]]:
    """The rows in groups of about so many bytes; a group is to be used up before the next is asked for."""
    waiting = iter(rows)
    for first in waiting:
        yield _shard(first, waiting, most_bytes)


def _shard(first: Row, waiting: Iterator[Row], most_bytes: int) -> Iterator[Row]:
    size = 0
    for row in chain([first], waiting):
        yield row
        size += len(row.image) + ROW_BYTES
        if size >= most_bytes:
            return


def batches(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows with their images inside, as many at once as fit into memory."""
    import pyarrow as pa

    for group in in_shards(rows, BATCH_BYTES):
        cells = [{"image": {"bytes": row.image, "path": row.name}, **row.cells} for row in group]
        yield pa.RecordBatch.from_pylist(cells, schema)
