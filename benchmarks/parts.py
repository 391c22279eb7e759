"""Where the time of a step of KTO goes, and how near each part comes to the machine's matrix products.

    python -m benchmarks.parts                 the bundled model on this machine, into benchmarks/parts.json; a table
    python -m benchmarks.parts --trace FILE    three steps as a trace for ui.perfetto.dev, and their operations
    python -m benchmarks.parts --gpu           SD 1.5 at 512 and SDXL at 1024 pixels, with random weights, on a GPU
    python -m benchmarks.parts --gpu --tiny    the same with small networks, to try the script without a GPU

The loop is that of `thumbtune train`, whose functions are timed where it calls them. On a CPU a time is the CPU time of
the process, on a GPU the clock after a synchronisation.

    data        sample the images of a step, read latents and prompts, draw noise, move all to the device
    reference   forward pass of the frozen reference
    policy      forward pass with the weights in training
    backward    gradients
    optimiser   clip the gradient, AdamW
    logging     measurements of each image, and the line of steps.jsonl
    rest        what is left of the step: the reference point, the loss
    encode      images and prompts of one step, which happens once a training, as a share of one step

    share       of the whole step, median over the turns
    Gflop       counted floating-point operations (torch's counter)
    of matmul   these over the part's time, as a share of the rate of large matrix products, measured before and after
"""

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import machine
from benchmarks.steps import FIRST, IMAGES, ROUNDS, Case, Parts, cases_of, counter, kto, matmul_rate, parts_of
from thumbtune.runs import tuning
from thumbtune.training import trainer
from thumbtune.training.cache import Cache
from thumbtune.training.reference_errors import ReferenceErrors

FILE = Path(__file__).with_suffix(".json")
PLACES: tuple[tuple[str, Any, str], ...] = (
    ("data", trainer, "_parts"),
    ("reference", ReferenceErrors, "of"),
    ("policy", trainer, "error_and_moved"),
    ("backward", Accelerator, "backward"),
    ("optimiser", trainer, "_update"),
    ("logging", trainer, "measured"),
    ("logging", trainer, "step_of"),
    ("logging", tuning, "_write_step"),
)
PARTS = tuple(dict.fromkeys(part for part, _, _ in PLACES))
REST, ENCODE = "rest", "encode"
TRACED = 3  # steps
SHOWN = 25  # operations of a trace


@dataclass
class Clock:
    """Add up the seconds of each part, and its operations while they are counted."""

    device: str
    counter: Any = None
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    operations: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def now(self) -> float:
        """Return CPU seconds of this process; on a GPU those of the clock, after all work is done."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def around(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that times each of its calls, and names it in a trace."""

        @wraps(work)
        def timed(*given: Any, **named: Any) -> Any:
            counted = self.counter.get_total_flops() if self.counter else 0
            begun = self.now()
            with record_function(f"# {part}"):
                result = work(*given, **named)
            self.seconds[part] += self.now() - begun
            if self.counter:
                self.operations[part] += self.counter.get_total_flops() - counted
            return result

        return timed


@contextmanager
def watching(clock: Clock) -> Iterator[None]:
    """Time the parts inside the `with` block."""
    kept = [getattr(owner, name) for _, owner, name in PLACES]
    for (part, owner, name), work in zip(PLACES, kept, strict=True):
        setattr(owner, name, clock.around(part, work))
    try:
        yield
    finally:
        for (_, owner, name), work in zip(PLACES, kept, strict=True):
            setattr(owner, name, work)


def steps_of(case: Case, folder: Path) -> Iterator[object]:
    """Yield after each step of KTO and its line in the log."""
    log = folder / "steps.jsonl"
    for step in kto(case, Cache(folder / "cache")):
        tuning._write_step(log, step)  # type: ignore[arg-type]
        yield step


def measure(case: Case, folder: Path, device: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each part of a step."""
    encode = encoding(parts_of(case, Cache(folder / "other")), case.batch, device)
    rates = [matmul_rate(device, case.precision)]
    turns: list[dict[str, float]] = []
    clock = Clock(device)
    with watching(clock):
        steps = steps_of(case, folder)
        for turn in range(FIRST + rounds):
            clock.seconds.clear()
            begun = clock.now()
            next(steps)
            whole = clock.now() - begun
            if turn >= FIRST:
                rest = whole - sum(clock.seconds.values())
                turns.append({**clock.seconds, REST: rest, "step": whole})
        clock.counter = counter()
        with clock.counter:
            next(steps)
    rates.append(matmul_rate(device, case.precision))
    return [_row(case, part, turns, clock.operations[part], statistics.mean(rates)) for part in (*PARTS, REST)] + [
        _row(case, ENCODE, [{ENCODE: encode, "step": turn["step"]} for turn in turns], 0, 1.0)
    ]


def _row(case: Case, part: str, turns: Sequence[dict[str, float]], operations: int, rate: float) -> dict[str, Any]:
    """Return the row of a part; `rate`: operations per second of large matrix products."""
    seconds = statistics.median(turn[part] for turn in turns)
    return {
        "case": case.name,
        "weights": case.weights,
        "batch": case.batch,
        "part": part,
        "seconds": seconds,
        "share": statistics.median(turn[part] / turn["step"] for turn in turns),
        "operations": operations,
        "of_matmul": operations / seconds / rate if operations else None,
    }


def encoding(parts: Parts, count: int, device: str) -> float:
    """Return the seconds of encoding the images and prompts of a step, each alone as training does."""
    likes, clock = parts.batches.encoded, Clock(device)
    for row in range(FIRST):
        likes._encode(row)
        likes._embed(likes.prompts[row])
    begun = clock.now()
    for row in range(count):
        likes._encode(row % IMAGES)
        likes._embed(likes.prompts[row % IMAGES])
    return clock.now() - begun


def trace(case: Case, folder: Path, device: str, file: Path) -> str:
    """Write a trace of a few steps with their parts, and return a table of the operations that cost most."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with watching(Clock(device)):
        steps = steps_of(case, folder)
        for _ in range(FIRST):
            next(steps)
        with profile(activities=activities) as found:
            for _ in range(TRACED):
                next(steps)
    found.export_chrome_trace(str(file))
    by = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    return found.key_averages().table(sort_by=by, row_limit=SHOWN, max_name_column_width=60)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = ["| model, weights, images | part | a step | share | Gflop | of matmul |", "|---|---|---|---|---|---|"]
    for row in rows:
        share = "" if row["of_matmul"] is None else f"{row['of_matmul']:.0%}"
        flop = f"{row['operations'] / 1e9:.1f}" if row["operations"] else ""
        what = f"{row['case']}, {row['weights']}, {row['batch']} | {row['part']}"
        lines.append(f"| {what} | {1000 * row['seconds']:.1f} ms | {row['share']:.1%} | {flop} | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, and write the rows; or write a trace."""
    parser = machine.parser_of(__doc__, FILE)
    parser.add_argument("--gpu", action="store_true", help="SD 1.5 and SDXL at their sizes")
    parser.add_argument("--tiny", action="store_true", help="with --gpu: small networks")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns that count")
    parser.add_argument("--trace", type=Path, help="write a trace of the first case into this file, and no rows")
    asked = parser.parse_args()
    threads = machine.threads_of_torch()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    about, rows = machine.about(threads), []
    with tempfile.TemporaryDirectory() as place:
        for number, case in enumerate(cases_of(Path(place), asked.gpu, asked.tiny)):
            folder = Path(place) / f"case-{number}"
            folder.mkdir()
            if asked.trace:
                print(trace(case, folder, device, asked.trace))
                return
            rows += measure(case, folder, device, asked.rounds)
    print(table(rows))
    machine.keep(asked.out, about, rows)


if __name__ == "__main__":
    main()
