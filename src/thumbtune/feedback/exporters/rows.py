"""Rows of an export: their cells, as JSON or Arrow, and which rows share a file."""

from __future__ import annotations  # `datasets` takes a second to import, so only functions that need it do so

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from thumbtune.feedback.metadata.generated import SYNTAX_COLUMN
from thumbtune.feedback.store.store import Label

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features

SYNTAX = "plain"  # a store has the words of prompts, without marks, so an import must take none out of them
SHARD_BYTES = 500_000_000
BATCH_BYTES = 32_000_000  # of images that are in memory at once
ROW_BYTES = 1000  # about the size of a row's cells beside its image
LINE_ENDS = (0x85, 0x2028, 0x2029)  # plain characters in JSON, but line ends for many programs


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: its cells, the bytes of its image, and the image's file name."""

    cells: dict[str, object]
    image: bytes
    name: str


def row_of(label: Label, data: bytes) -> Row:
    """Return the row of a label and its image's bytes."""
    image = label.image
    cells: dict[str, object] = {
        "prompt": image.prompt,
        SYNTAX_COLUMN: SYNTAX,
        "label": label.liked,
        "rater": label.rater,
        "weight": label.weight,
        "grade": label.grade,
        "reason": label.reason,
        "pair": label.pair,
        "seed": image.seed,
        "model": image.model,
        "source": image.source,
        "created_at": label.created_at,
        "vote_id": label.vote_id,
        "image_id": image.sha256,
    }
    return Row(cells=cells, image=data, name=f"{image.sha256}{PurePosixPath(image.file).suffix}")


def line_of(cells: Mapping[str, object]) -> str:
    """Return all cells as JSON, with null for unknown values and times in ISO 8601."""
    line = json.dumps(cells, ensure_ascii=False, default=_format_time)
    for code in LINE_ENDS:
        line = line.replace(chr(code), f"\\u{code:04x}")
    return line


def _format_time(cell: object) -> str:
    assert isinstance(cell, datetime)
    return cell.isoformat()


def features() -> Features:
    """Return the columns and their types, for `datasets`; numbers are as exact as in the store."""
    from datasets import Features, Image, Value

    texts = ("rater", "reason", "pair", "model", "source", "vote_id", "image_id")
    types = {name: Value("string") for name in texts}
    return Features(
        {
            "image": Image(),
            "prompt": Value("string"),
            SYNTAX_COLUMN: Value("string"),
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


def in_shards(rows: Iterable[Row], max_bytes: int) -> Iterator[Iterator[Row]]:
    """Yield the rows in groups of about `max_bytes`; each group must be used up before the next."""
    rest = iter(rows)
    for first in rest:
        yield _shard(first, rest, max_bytes)


def _shard(first: Row, rest: Iterator[Row], max_bytes: int) -> Iterator[Row]:
    size = 0
    for row in chain([first], rest):
        yield row
        size += len(row.image) + ROW_BYTES
        if size >= max_bytes:
            return


def batches(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows with their images inside, about `BATCH_BYTES` at a time."""
    import pyarrow as pa

    for group in in_shards(rows, BATCH_BYTES):
        cells = [{"image": {"bytes": row.image, "path": row.name}, **row.cells} for row in group]
        yield pa.RecordBatch.from_pylist(cells, schema)
