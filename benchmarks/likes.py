"""How likes scale: import of 10,000, 100,000 and 1,000,000 rows, and a training set opened on them.

    python benchmarks/likes.py --rows 10000 100000 1000000

Rows are a Parquet file that names 256 images of 64 x 64, each row with a prompt of its own, so that every row is a
image of its own in the store. Each step is a process of its own, whose peak of resident memory is the kernel's word
(on Linux). Writes benchmarks/likes.json, where other numbers of rows stay, and prints the table of docs/likes.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IMAGES, SIDE = 256, 64
AT_ONCE = 50_000
STEPS = ("import", "open", "open-again", "stats", "import-again")
FILE = Path(__file__).with_suffix(".json")


def make_table(folder: Path, rows: int) -> Path:
    """A table of likes and dislikes and its images, some thousand rows at a time."""
    import numpy as np
    import pyarrow as pa
    from PIL import Image
    from pyarrow.parquet import ParquetWriter

    (folder / "pictures").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = noise.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:03}.png")
    schema = pa.schema({"file_name": pa.string(), "prompt": pa.string(), "label": pa.bool_(), "rater": pa.string()})
    with ParquetWriter(folder / "table.parquet", schema) as writer:
        for start in range(0, rows, AT_ONCE):
            writer.write_batch(pa.RecordBatch.from_pylist(list(_rows(start, min(rows, start + AT_ONCE))), schema))
    return folder / "table.parquet"


def _rows(start: int, end: int) -> Iterator[dict[str, Any]]:
    for number in range(start, end):
        yield {
            "file_name": f"images/{number % IMAGES:03}.png",
            "prompt": f"image {number} of many, as somebody would ask for it",
            "label": number % 3 > 0,
            "rater": f"rater {number % 7}",
        }


def step(name: str, folder: Path) -> dict[str, float]:
    """One step in this process: its seconds, and the peak of its memory in MB."""
    from thumbtune.feedback.importers import import_likes
    from thumbtune.feedback.likes import likes_of, split
    from thumbtune.feedback.stats import stats_of
    from thumbtune.feedback.store.store import Store

    begun, result = time.perf_counter(), {}
    with Store.open(folder / "store") as store:
        if name.startswith("import"):
            result["rows"] = import_likes(folder / "table.parquet", store).used
        elif name == "stats":
            result["rows"] = stats_of(store).opinions
        else:
            likes = likes_of(store)
            result["table"] = time.perf_counter() - begun
            parts = split(likes, 0.2, 0)
            batch = parts.train.shuffle(seed=0).select(range(32))["image"][:]
            result["rows"] = len(parts.train) + len(parts.held_out)
            assert {image.size for image in batch} == {(SIDE, SIDE)}
    took = time.perf_counter() - begun
    return result | {"seconds": took, "memory_mb": peak() / 1e6}


def peak() -> int:
    """The peak of this process's resident memory in bytes. (What getrusage says is at least that of its parent.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def measure(rows: int) -> dict[str, Any]:
    """All steps on so many rows, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="thumbtune-bench-") as name:
        make_table(Path(name), rows)
        found: dict[str, Any] = {"rows": rows}
        for each in STEPS:
            words = [sys.executable, __file__, "--step", each, "--folder", name]
            found[each] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            assert found[each]["rows"] == rows, (each, found[each])
            print(f"{rows:>9,} rows, {each}: {found[each]}", file=sys.stderr)
        found["store_mb"] = (Path(name) / "store" / "likes.sqlite").stat().st_size / 1e6
        return found


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "| rows | import, rows/s | memory | the same again, rows/s | table made, s | first batch later, s | memory "
        "| stats, s | memory | database |",
        "|" + " --- |" * 10,
    ]
    for r in results:
        first, again, stats = r["open"], r["open-again"], r["stats"]
        lines.append(
            f"| {r['rows']:,} | {r['rows'] / r['import']['seconds']:,.0f} | {r['import']['memory_mb']:.0f} MB "
            f"| {r['rows'] / r['import-again']['seconds']:,.0f} | {first['table']:.1f} | {again['seconds']:.1f} "
            f"| {max(first['memory_mb'], again['memory_mb']):.0f} MB | {stats['seconds']:.1f} "
            f"| {stats['memory_mb']:.0f} MB | {r['store_mb']:.0f} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step(given.step, given.folder)))
        return
    known = json.loads(FILE.read_text(encoding="utf-8"))["results"] if FILE.exists() else []
    by_rows = {each["rows"]: each for each in known}
    for rows in given.rows:
        by_rows[rows] = measure(rows) | {"cores": os.cpu_count(), "machine": platform.machine()}
        results = {"results": [by_rows[each] for each in sorted(by_rows)]}
        FILE.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(table([by_rows[rows] for rows in sorted(by_rows)]))


if __name__ == "__main__":
    main()
