"""Write likes as WebDataset shards, `shard-000000.tar`, with each row's image, prompt (.txt) and cells (.json)."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from thumbtune.feedback.exporters.rows import Row, in_shards, line_of


def write(rows: Iterable[Row], folder: Path, shard_bytes: int) -> None:
    """Write the files into `folder`, which exists and is empty.

    Raises:
        OSError: the disk is full.
    """
    number = 0
    for shard, shard_rows in enumerate(in_shards(rows, shard_bytes)):
        with tarfile.open(folder / f"shard-{shard:06}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for row in shard_rows:
                _add(archive, f"{number:09}", row)
                number += 1
                archive.members = []  # type: ignore[attr-defined]  # or they would fill the memory


def _add(archive: tarfile.TarFile, stem: str, row: Row) -> None:
    files = {
        PurePosixPath(row.name).suffix: row.image,
        ".txt": str(row.cells["prompt"]).encode(),
        ".json": line_of(row.cells).encode(),
    }
    for suffix, data in files.items():
        info = tarfile.TarInfo(stem + suffix)  # without owner and time, so that the same likes give the same bytes
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
