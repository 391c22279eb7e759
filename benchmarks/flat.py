"""Does a long training keep its memory and its number of open files?

    python -m benchmarks.flat              2,000 steps of the bundled model, some 4 minutes, into benchmarks/flat.json
    python -m benchmarks.flat --steps 300  fewer
    python -m benchmarks.flat --leak 100   the same with 100 kB lost in each step, which must be found

A training of two images a step runs in a process of its own, as `thumbtune train` runs it: with its log, checkpoints,
validation on held-out likes and guards. Now and then it says what memory it has, after Python's collector and the C
library have given back what they can, and how many files it has open. The first quarter of the steps warms up.

    kB a step       the median of the slopes between any two of these (Theil and Sen), which single values cannot move
    handles         the most open files after warming up, less those at its end

It exits with 1 if a step costs more than 20 kB, or a handle stays. A training remembers its steps for its guards: that
is 1 to 2 kB for each.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks import machine, stages
from benchmarks.startup import write_likes

FILE = Path(__file__).with_suffix(".json")
STEPS, BATCH = 2000, 2
POINTS = 40  # at which memory is read
WARM = 0.25  # of the steps
MOST_KB = 20.0  # a step
HANDLES = Path("/proc/self/fd")
WORKER = "from benchmarks.flat import go; import sys; go(*sys.argv[1:3], *map(int, sys.argv[3:]))"

Point = tuple[int, int, int]  # the step, bytes of memory, open files


def go(store: str, folder: str, steps: int, leak: int) -> None:
    """Train, and print what the process has after some of the steps; each step loses `leak` bytes."""
    import torch

    from thumbtune.memory import give_back
    from thumbtune.runs.recipe import read_recipe
    from thumbtune.runs.tuning import tune
    from thumbtune.training.progress import quiet

    torch.set_num_threads(1)
    chosen = {"likes": store, "train.steps": steps, "train.batch": BATCH, "train.micro_batch": BATCH, "train.lr": 1e-6}
    chosen |= {"train.validation_share": 0.25, "train.checkpoint_every": max(1, steps // 10)}
    chosen |= {"train.validate_every": max(1, steps // 10), "train.keep_checkpoints": 2}
    recipe = read_recipe(None, [f"{name}={value}" for name, value in chosen.items()])
    lost: list[bytes] = []
    points: list[Point] = []
    for step in tune(recipe, Path(folder), quiet):
        lost.append(os.urandom(leak))  # pages of zeros would take no memory
        if step.step % max(1, steps // POINTS) == 0 or step.step == steps:
            gc.collect()
            give_back()
            points.append((step.step, stages.memory()[0], sum(1 for _ in HANDLES.iterdir())))
    print(json.dumps(points))


def points_of(steps: int, leak: int = 0) -> list[Point]:
    """Return what a training of so many steps had after some of them."""
    with tempfile.TemporaryDirectory() as place:
        write_likes(Path(place))
        done = subprocess.run(
            [sys.executable, "-c", WORKER, f"{place}/likes", f"{place}/run", str(steps), str(leak)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return [(step, memory, handles) for step, memory, handles in json.loads(done.stdout.splitlines()[-1])]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes between any two points: Theil (1950), Sen (1968).

    >>> slope([(0, 1), (1, 3), (2, 900), (3, 7), (4, 9)])
    2.0
    """

    def slopes() -> Iterator[float]:
        for (x, y), (other_x, other_y) in combinations(points, 2):
            yield (other_y - y) / (other_x - x)

    return statistics.median(slopes())


def row_of(points: Sequence[Point]) -> dict[str, Any]:
    """Return what a training costs after its first steps."""
    warm = [point for point in points if point[0] > WARM * points[-1][0]]
    return {
        "steps": points[-1][0],
        "kb_a_step": slope([(step, memory / 1000) for step, memory, _ in warm]),
        "handles": max(handles for _, _, handles in warm) - warm[0][2],
        "memory_mb": [round(memory / 1e6, 1) for _, memory, _ in (warm[0], warm[-1])],
        "open_files": [warm[0][2], warm[-1][2]],
    }


def is_flat(row: dict[str, Any]) -> bool:
    """Return whether a training keeps its memory and its open files."""
    return row["kb_a_step"] <= MOST_KB and row["handles"] <= 0


def line_of(row: dict[str, Any]) -> str:
    """Return a row as a line of a table of Markdown."""
    begun, ended = row["memory_mb"]
    files = " to ".join(map(str, row["open_files"]))
    return f"| {row['steps']:,} | {begun:.0f} to {ended:.0f} MB | {row['kb_a_step']:.1f} kB | {files} |"


def main() -> int:
    """Train, print and write the row; return 1 if something grows."""
    parser = machine.parser_of(__doc__, FILE)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the training")
    parser.add_argument("--leak", type=int, default=0, help="kB to lose in each step; no row is written then")
    asked = parser.parse_args()
    about = machine.about(threads=1)
    row = row_of(points_of(asked.steps, 1000 * asked.leak))
    print(line_of(row))
    if not asked.leak:
        machine.keep(asked.out, about, [row])
    return 0 if is_flat(row) else 1


if __name__ == "__main__":
    sys.exit(main())
