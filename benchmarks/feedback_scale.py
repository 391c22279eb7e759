"""Measure feedback at scale: event logs of 1, 10 or 100 million votes, from Parquet files to a first batch.

    python -m benchmarks.feedback_scale --events 1000000 10000000
    python -m benchmarks.feedback_scale --events 1000000 --store     # the way through a store too
    python -m benchmarks.feedback_scale --events 10000000 --engines  # the same query in DuckDB and in Polars

The log is synthetic: 256 images of 64 x 64, one prompt for each 20 events, one rater for each 1,000 events, times in a
year; 60 % are likes. Each step runs in a process of its own, whose seconds of CPU time (user and system), seconds by
the clock and peak of resident memory are measured (on Linux). Other programs that run beside it lengthen the seconds by
the clock, so that the load of the machine stands beside them. The results are added to benchmarks/feedback_scale.json,
and printed as the tables of docs/benchmarks.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.likes import IMAGES, SIDE, make_images, peak

FILE = Path(__file__).with_suffix(".json")
EVENTS_A_FILE = 1_000_000
EVENTS_A_PROMPT, EVENTS_A_RATER = 20, 1_000
START, MICROSECONDS = 1_700_000_000_000_000, 300 * 86_400 * 10**6
MEMORY = "2GB"  # that DuckDB may use in the comparison of engines; Polars has no such limit
CORE = """
    WITH latest AS (SELECT image, prompt, rater, arg_max(label, created_at) AS liked FROM {log} GROUP BY ALL),
    votes AS (SELECT image, prompt, count_if(liked) AS a, count_if(NOT liked) AS b FROM latest GROUP BY ALL)
    SELECT image, prompt, a > b AS liked FROM votes WHERE a <> b"""


def make_log(folder: Path, events: int) -> None:
    """Write a log of this many votes, a million in each file, and its images."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    dice = np.random.default_rng(0)
    names = pa.array(make_images(folder / "images", dice))
    prompts, raters = max(events // EVENTS_A_PROMPT, 10), max(events // EVENTS_A_RATER, 10)
    for file, start in enumerate(range(0, events, EVENTS_A_FILE)):
        rows = min(EVENTS_A_FILE, events - start)
        prompt, rater = dice.integers(0, prompts, rows), dice.integers(0, raters, rows)
        words = pc.cast(pa.array(prompt), pa.string())
        table = {
            "image": names.take(pa.array(prompt % IMAGES)),
            "prompt": pc.binary_join_element_wise("prompt", words, "of many, as somebody would ask for it", " "),
            "label": pa.array(dice.random(rows) < 0.6),
            "rater": pc.binary_join_element_wise("rater", pc.cast(pa.array(rater), pa.string()), " "),
            "created_at": pa.array(START + dice.integers(0, MICROSECONDS, rows), pa.timestamp("us", "UTC")),
        }
        pq.write_table(pa.table(table), folder / f"part-{file:05}.parquet", compression="zstd")


def first_batch(likes: Any) -> int:
    """Split a table of likes, and decode a batch of 32 images; return the number of rows."""
    from thumbtune.feedback.likes import image_of, split

    parts = split(likes)
    batch = parts.train.shuffle(seed=0).select(range(32))
    assert {image_of(batch, row).size for row in range(32)} == {(SIDE, SIDE)}
    return len(parts.train) + len(parts.held_out)


def log_step(folder: Path) -> dict[str, Any]:
    """Read a log, make the table of labels by majority, split it and decode a batch."""
    from thumbtune.feedback.event_log.log import EventLog

    with EventLog.open(str(folder)) as log:
        votes = log.report.liked + log.report.disliked
        return {"votes": votes, "labels": first_batch(log.likes())}


def import_step(folder: Path) -> dict[str, Any]:
    """Import the log into a store."""
    from thumbtune.feedback.importers import import_likes
    from thumbtune.feedback.store.store import Store

    with Store.open(folder / "store") as store:
        return {"votes": import_likes(folder, store, kind="parquet").used}


def table_step(folder: Path) -> dict[str, Any]:
    """Make the table of labels of the store, split it and decode a batch."""
    from thumbtune.feedback.likes import likes_of
    from thumbtune.feedback.store.store import Store

    with Store.open(folder / "store") as store:
        return {"labels": first_batch(likes_of(store))}


def duckdb_step(folder: Path) -> dict[str, Any]:
    """Compute the majority of latest votes with DuckDB."""
    begun = time.perf_counter()
    import duckdb

    imported = time.perf_counter() - begun
    connection = duckdb.connect(str(folder / "engine.duckdb"))
    connection.execute(f"SET memory_limit='{MEMORY}'; SET threads=2; SET preserve_insertion_order=false")
    connection.execute("CREATE TABLE labels AS " + CORE.format(log=f"read_parquet('{folder}/part-*.parquet')"))
    (labels,) = connection.execute("SELECT count(*) FROM labels").fetchone() or (0,)
    return {"labels": labels, "import_seconds": imported}


def polars_step(folder: Path) -> dict[str, Any]:
    """Compute the majority of latest votes with Polars, streaming."""
    os.environ["POLARS_MAX_THREADS"] = "2"
    begun = time.perf_counter()
    import polars as pl  # pyright: ignore[reportMissingImports] - for this comparison alone

    imported = time.perf_counter() - begun
    liked = pl.col("liked")
    latest = (
        pl.scan_parquet(folder / "part-*.parquet")
        .group_by("image", "prompt", "rater")
        .agg(pl.col("label").sort_by("created_at").last().alias("liked"))
    )
    votes = latest.group_by("image", "prompt").agg(liked.sum().alias("a"), (~liked).sum().alias("b"))
    labels = votes.filter(pl.col("a") != pl.col("b")).select(
        "image", "prompt", (pl.col("a") > pl.col("b")).alias("liked")
    )
    labels.sink_parquet(folder / "labels.parquet.polars", engine="streaming")
    rows = pl.scan_parquet(folder / "labels.parquet.polars").select(pl.len()).collect().item()
    return {"labels": rows, "import_seconds": imported}


STEPS: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "log": log_step,
    "import": import_step,
    "table": table_step,
    "duckdb": duckdb_step,
    "polars": polars_step,
}


def run_step(name: str, folder: Path) -> dict[str, Any]:
    """Run a step in this process; return its result, seconds and memory."""
    begun = time.perf_counter()
    result = STEPS[name](folder)
    clock, used = time.perf_counter() - begun, os.times()
    return result | {
        "seconds": round(clock, 2),
        "cpu_seconds": round(used.user + used.system, 2),
        "memory_mb": round(peak() / 1e6),
    }


def measure(events: int, steps: list[str], place: Path | None) -> list[dict[str, Any]]:
    """Run steps on a log of this many events, in a temporary folder in `place`; return a row for each."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="thumbtune-bench-", dir=place) as folder:
        make_log(Path(folder) / "log", events)
        size = sum(file.stat().st_size for file in Path(folder, "log").glob("*.parquet"))
        for step in steps:
            words = [sys.executable, "-m", "benchmarks.feedback_scale", "--step", step, "--folder", f"{folder}/log"]
            load = os.getloadavg()[0]
            answer = subprocess.run(
                words, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": folder}
            )
            assert answer.returncode == 0, answer.stderr
            result = json.loads(answer.stdout.splitlines()[-1])
            about = {"events": events, "step": step, "parquet_mb": round(size / 1e6), "load": round(load, 1)}
            rows.append(about | result | {"cores": os.cpu_count(), "machine": platform.machine()})
            print(rows[-1], file=sys.stderr)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as Markdown."""
    lines = ["| events | step | CPU s | s | load | peak memory | events / CPU s | labels |", "|" + " --- |" * 8]
    lines += [
        f"| {row['events']:,} | {row['step']} | {row['cpu_seconds']:,.1f} | {row['seconds']:,.1f} | {row['load']} "
        f"| {row['memory_mb']:,} MB | {row['events'] / row['cpu_seconds']:,.0f} "
        f"| {row.get('labels', row.get('votes')):,} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure the given numbers of events, and print all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--store", action="store_true", help="import the log into a store too")
    parser.add_argument("--engines", action="store_true", help="compare DuckDB and Polars instead")
    parser.add_argument("--place", type=Path, help="where temporary files lie: 100 million events need some 15 GB")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(run_step(given.step, given.folder)))
        return
    steps = ["duckdb", "polars"] if given.engines else ["log", *(["import", "table"] if given.store else [])]
    stored = json.loads(FILE.read_text(encoding="utf-8"))["results"] if FILE.exists() else []
    by_name = {(row["events"], row["step"]): row for row in stored}
    for events in given.events:
        by_name |= {(events, row["step"]): row for row in measure(events, steps, given.place)}
        results = {"results": [by_name[name] for name in sorted(by_name)]}
        FILE.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table([by_name[name] for name in sorted(by_name)]))


if __name__ == "__main__":
    main()
