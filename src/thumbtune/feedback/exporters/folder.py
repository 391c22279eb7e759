"""Write likes as a folder of images with a `metadata.jsonl`, which Hugging Face's imagefolder and people read.

Rows with the same image share one file.
"""

from collections.abc import Iterable
from pathlib import Path

from thumbtune.feedback.exporters.rows import Row, line_of


def write(rows: Iterable[Row], folder: Path, shard_bytes: int) -> None:
    """Write the files into `folder`, which exists and is empty; without shards.

    Raises:
        OSError: the disk is full.
    """
    with (folder / "metadata.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for row in rows:
            name = f"images/{row.name[:2]}/{row.name}"  # 256 folders instead of a million files in one
            file = folder / name
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(row.image)
            lines.write(line_of({"file_name": name, **row.cells}) + "\n")
