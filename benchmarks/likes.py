"""Measure how likes scale: import 10,000, 100,000 and 1,000,000 rows, and open a training set on them.

    python benchmarks/likes.py --rows 10000 100000 1000000

The rows are a Parquet file that names 256 images of 64 x 64. Each row has its own prompt, and so is an image in the
store. Each step runs in its own process, whose peak of resident memory the kernel reports (on Linux). The results are
written into benchmarks/likes.json, where results for other numbers of rows stay, and printed as the table of
docs/likes.md.
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
    """Write a table of likes and dislikes and its images, some thousand rows at a time; return its file."""
    import numpy as np
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    make_images(folder / "images", np.random.default_rng(0))
    schema = pa.schema({"file_name": pa.string(), "prompt": pa.string(), "label": pa.bool_(), "rater": pa.string()})
    with ParquetWriter(folder / "table.parquet", schema) as writer:
        for start in range(0, rows, AT_ONCE):
            writer.write_batch(pa.RecordBatch.from_pylist(list(_rows(start, min(rows, start + AT_ONCE))), schema))
    return folder / "table.parquet"


def make_images(folder: Path, dice: Any) -> list[str]:
    """Write `IMAGES` images of 8 x 8 random squares into a new folder; return their names from the folder above."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    names = [f"{number:03}.png" for number in range(IMAGES)]
    for name in names:
        pixels = dice.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)
        Image.fromarray(pixels).save(folder / name)
    return [f"{folder.name}/{name}" for name in names]


def _rows(start: int, end: int) -> Iterator[dict[str, Any]]:
    for number in range(start, end):
        yield {
            "file_name": f"images/{number % IMAGES:03}.png",
            "prompt": f"image {number} of many, as somebody would ask for it",
            "label": number % 3 > 0,
            "rater": f"rater {number % 7}",
        }


def step(name: str, folder: Path) -> dict[str, float]:
    """Run one step in this process; return its seconds, and the peak of its memory in MB."""
    from thumbtune.feedback.importers import import_likes
    from thumbtune.feedback.likes import likes_of, split
    from thumbtune.feedback.stats import stats_of
    from thumbtune.feedback.store.store import Store

    begun, result = time.perf_counter(), {}
    with Store.open(folder / "store") as store:
        if name.startswith("import"):
            result["rows"] = import_likes(folder / "table.parquet", store).used
        elif name == "stats":
            result["rows"] = stats_of(store).labels
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
    """Return the peak of this process's resident memory in bytes. (getrusage reports at least that of the parent.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def measure(rows: int) -> dict[str, Any]:
    """Run all steps on a number of rows in a temporary folder; return their results."""
    with tempfile.TemporaryDirectory(prefix="thumbtune-bench-") as folder:
        make_table(Path(folder), rows)
        results: dict[str, Any] = {"rows": rows}
        for step_name in STEPS:
            words = [sys.executable, __file__, "--step", step_name, "--folder", folder]
            results[step_name] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            assert results[step_name]["rows"] == rows, (step_name, results[step_name])
            print(f"{rows:>9,} rows, {step_name}: {results[step_name]}", file=sys.stderr)
        results["store_mb"] = (Path(folder) / "store" / "likes.sqlite").stat().st_size / 1e6
        return results


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| rows | import, rows/s | memory | import again, rows/s | making the table, s | first batch after that, s "
        "| memory | stats, s | memory | database |",
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
    """Measure the given numbers of rows, and print all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step(given.step, given.folder)))
        return
    stored = json.loads(FILE.read_text(encoding="utf-8"))["results"] if FILE.exists() else []
    by_rows = {result["rows"]: result for result in stored}
    for rows in given.rows:
        by_rows[rows] = measure(rows) | {"cores": os.cpu_count(), "machine": platform.machine()}
        results = {"results": [by_rows[number] for number in sorted(by_rows)]}
        FILE.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(table([by_rows[rows] for rows in sorted(by_rows)]))


if __name__ == "__main__":
    main()
