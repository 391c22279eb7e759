"""Write likes as Parquet files with the images inside, named as on the Hugging Face hub: `data/train-*.parquet`.

`datasets.load_dataset(folder)` reads an image in each row; pandas, DuckDB and other readers of Parquet read {bytes,
path}.
"""

from collections.abc import Iterable
from pathlib import Path

from thumbtune.feedback.exporters.rows import BATCH_BYTES, Row, batches, features, in_shards


def write(rows: Iterable[Row], folder: Path, shard_bytes: int) -> None:
    """Write the files into `folder`, which exists and is empty.

    Raises:
        OSError: the disk is full.
    """
    from pyarrow.parquet import ParquetWriter

    data, schema, parts = folder / "data", features().arrow_schema, list[Path]()
    data.mkdir()
    for shard in in_shards(rows, shard_bytes):
        parts.append(data / f"{len(parts)}.part")
        # the dictionary stores an image once in a group of rows, even if several raters rated it
        with ParquetWriter(parts[-1], schema, dictionary_pagesize_limit=2 * BATCH_BYTES) as writer:
            for batch in batches(shard, schema):
                writer.write_batch(batch)
    for number, part in enumerate(parts):
        part.rename(data / f"train-{number:05}-of-{len(parts):05}.parquet")
