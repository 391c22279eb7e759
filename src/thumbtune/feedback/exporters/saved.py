"""Write likes as a folder for `datasets.load_from_disk`: Arrow files, with the images inside."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from thumbtune.feedback.exporters.rows import Row, batches, features, in_shards


def write(rows: Iterable[Row], folder: Path, shard_bytes: int) -> None:
    """Write the files into `folder`, which exists and is empty.

    Raises:
        OSError: the disk is full.
    """
    import pyarrow as pa
    from datasets import DatasetInfo

    columns, parts, content = features(), list[Path](), hashlib.sha256()
    schema = columns.arrow_schema
    for shard in in_shards(_hashed(rows, content), shard_bytes):
        parts.append(folder / f"{len(parts)}.part")
        with pa.OSFile(str(parts[-1]), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            for batch in batches(shard, schema):
                stream.write_batch(batch)
    names = [f"data-{number:05}-of-{len(parts):05}.arrow" for number in range(len(parts))]
    for part, name in zip(parts, names, strict=True):
        part.rename(folder / name)
    DatasetInfo(features=columns).write_to_directory(str(folder))
    state = json.dumps(_state(names, content.hexdigest()[:16]), indent=2, sort_keys=True)
    (folder / "state.json").write_text(state, encoding="utf-8")


def _hashed(rows: Iterable[Row], content: "hashlib._Hash") -> Iterator[Row]:
    """Yield the rows and hash their cells, since `datasets` takes data sets with equal fingerprints as the same."""
    for row in rows:
        content.update(json.dumps(row.cells, default=str).encode())
        yield row


def _state(names: list[str], fingerprint: str) -> dict[str, object]:
    """Return the `state.json` that `datasets` writes beside a saved data set."""
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
