"""Likes as a folder that `datasets.load_from_disk` maps into memory: Arrow files, with the images inside."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from thumbtune.feedback.exporters.rows import Row, batches, features, in_shards


def write(rows: Iterable[Row], folder: Path, shard_bytes: int) -> None:
    """Write the files into `folder`, which is there and empty.

    Raises:
        OSError: the disk is full.
    """
    import pyarrow as pa
    from datasets import DatasetInfo

    columns, parts, said = features(), list[Path](), hashlib.sha256()
    schema = columns.arrow_schema
    for shard in in_shards(_heard(rows, said), shard_bytes):
        parts.append(folder / f"{len(parts)}.part")
        with pa.OSFile(str(parts[-1]), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            for batch in batches(shard, schema):
                stream.write_batch(batch)
    names = [f"data-{number:05}-of-{len(parts):05}.arrow" for number in range(len(parts))]
    for part, name in zip(parts, names, strict=True):
        part.rename(folder / name)
    DatasetInfo(features=columns).write_to_directory(str(folder))
    state = json.dumps(_state(names, said.hexdigest()[:16]), indent=2, sort_keys=True)
    (folder / "state.json").write_text(state, encoding="utf-8")


def _heard(rows: Iterable[Row], said: "hashlib._Hash") -> Iterator[Row]:
    """The rows; what they say goes into a hash, since `datasets` takes data sets of one fingerprint for the same."""
    for row in rows:
        said.update(json.dumps(row.cells, default=str).encode())
        yield row


def _state(names: list[str], fingerprint: str) -> dict[str, object]:
    """What `datasets` notes beside a data set that it saves."""
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
