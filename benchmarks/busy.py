"""What another busy program costs generating and training, by the number of threads and by how threads wait.

    python -m benchmarks.busy          the bundled model, into benchmarks/busy.json; a table; about two minutes
    python -m benchmarks.busy --part 8 an eighth of the work, for a machine that is busy already

A process for each way stays loaded and works in turns with the others: it generates 16 images in 8 steps, then trains 4
steps; once as the machine is, and once beside a loop that keeps one core busy. Processes without a turn sleep.

    1 thread     one thread
    all, active  a thread for each core, which spins while it waits for the others: what OpenMP does by itself
    all, patient the same, but a thread that has spun for some 0.1 ms sleeps: what commands do on up to four cores
    all, passive the same, but threads sleep at once (OMP_WAIT_POLICY=PASSIVE)

    as it is, busy    seconds by the clock, medians of the turns
    speed left        of the speed as the machine is, what is left beside the loop: median of the ratios of each turn
    x active          seconds as a multiple of those of "all, active" of the same turn, as the machine is and busy
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import machine
from thumbtune.cli import SPIN, SPINS

FILE = Path(__file__).with_suffix(".json")
TURNS = 3
IMAGES, SAMPLING_STEPS, STEPS = 16, 8, 4
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
ACTIVE = "all, active"
WAYS: Mapping[str, Mapping[str, str]] = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    ACTIVE: {"OMP_NUM_THREADS": str(CORES)},
    "all, patient": {"OMP_NUM_THREADS": str(CORES), SPIN: SPINS},
    "all, passive": {"OMP_NUM_THREADS": str(CORES), "OMP_WAIT_POLICY": "PASSIVE"},
}
WORKS = ("generate", "train")
WORKER = "from benchmarks.busy import serve; import sys; serve(int(sys.argv[1]))"
LOOP = "while True: pass"


def serve(part: int) -> None:
    """Do the work that each line of standard input names, and answer its seconds by the clock and of the CPU."""
    import torch

    from benchmarks.steps import Case, kto, parts_of
    from thumbtune.models.protocol import Sampler
    from thumbtune.training.cache import Cache

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        case = Case(name="bundled")
        steps = kto(case, Cache(Path(folder)))
        next(steps)
        model = parts_of(case, Cache(Path(folder))).model
        sampler = Sampler(steps=max(1, SAMPLING_STEPS // part), guidance=3.0)
        model.generate(["a red apple"], [0], sampler)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            begun, cpu = time.perf_counter(), time.process_time()
            if line.strip() == "generate":
                model.generate(["a red apple"] * IMAGES, list(range(IMAGES)), sampler)
            else:
                for _ in range(max(1, STEPS // part)):
                    next(steps)
            print(json.dumps([time.perf_counter() - begun, time.process_time() - cpu]), flush=True)


class Worker:
    """A process that works one way, and waits in between."""

    def __init__(self, way: Mapping[str, str], part: int) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(part)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, **way},
        )

    def answer(self) -> Any:
        """Return the next answer.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with {self.process.wait()}")
        return json.loads(line)

    def seconds(self, work: str) -> tuple[float, float]:
        """Return the seconds of a piece of work, by the clock and of the CPU."""
        assert self.process.stdin is not None
        print(work, file=self.process.stdin, flush=True)
        wall, cpu = self.answer()
        return wall, cpu

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy inside the `with` block."""
    loop = subprocess.Popen([sys.executable, "-c", LOOP])
    try:
        time.sleep(0.5)
        yield
    finally:
        loop.kill()
        loop.wait()


def turn_of(workers: Mapping[str, Worker]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the seconds of each way and work."""
    return {(way, work): worker.seconds(work) for work in WORKS for way, worker in workers.items()}


def measure(turns: int, part: int) -> list[dict[str, Any]]:
    """Return a row for each way and each work, of which only a part is done: 1 / `part`."""
    workers: dict[str, Worker] = {}
    calm, busy = [], []
    try:
        for way, variables in WAYS.items():  # one after another, as loading keeps a core busy too
            workers[way] = Worker(variables, part)
            workers[way].answer()
        turn_of(workers)  # warms up
        for _ in range(turns):
            calm.append(turn_of(workers))
            with busy_core():
                busy.append(turn_of(workers))
    finally:
        for worker in workers.values():
            worker.end()
    return [_row(way, work, calm, busy) for work in WORKS for way in WAYS]


def _row(way: str, work: str, calm: Sequence[Mapping[Any, Any]], busy: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    def median(turns: Sequence[Mapping[Any, Any]], of: int = 0) -> float:
        return round(statistics.median(turn[way, work][of] for turn in turns), 2)

    def times_active(turns: Sequence[Mapping[Any, Any]]) -> float:
        return round(statistics.median(turn[way, work][0] / turn[ACTIVE, work][0] for turn in turns), 2)

    left = [one[way, work][0] / other[way, work][0] for one, other in zip(calm, busy, strict=True)]
    return {
        "work": work,
        "way": way,
        "calm": median(calm),
        "busy": median(busy),
        "cpu": median(calm, 1),
        "cpu_busy": median(busy, 1),
        "left": round(statistics.median(left), 2),
        "calm_times_active": times_active(calm),
        "busy_times_active": times_active(busy),
        "turns": len(calm),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [
        "| work | threads | as it is, s | busy, s | CPU s | CPU s, busy | speed left | x active | x active, busy |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        times = f"{row['calm']:.2f} | {row['busy']:.2f} | {row['cpu']:.2f} | {row['cpu_busy']:.2f} | {row['left']:.0%}"
        ratios = f"{row['calm_times_active']:.2f} | {row['busy_times_active']:.2f}"
        lines.append(f"| {row['work']} | {row['way']} | {times} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every way, print a table, and write the rows."""
    parser = machine.parser_of(__doc__, FILE)
    parser.add_argument("--turns", type=int, default=TURNS, help="turns as the machine is, and as many beside a loop")
    parser.add_argument("--part", type=int, default=1, help="do this part of the work: 8 for an eighth")
    asked = parser.parse_args()
    about = machine.about()
    rows = measure(asked.turns, asked.part)
    print(table(rows))
    machine.keep(asked.out, about, rows)


if __name__ == "__main__":
    main()
