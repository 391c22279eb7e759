"""What several processes cost: sums over them, measured here, and a model on paper of a step with up to 1,000 GPUs.

    python -m benchmarks.processes               1, 2 and 4 processes of this machine, into benchmarks/processes.json

A sum over N processes by a ring moves 2 (N - 1) / N of its bytes through each of them, in 2 (N - 1) turns:

    seconds(bytes, N) = 2 (N - 1) latency + 2 (N - 1) / N bytes / bandwidth

Latency and bandwidth are fitted to the sums of two processes, and the model is asked about those of four. A step waits
for the slowest of N processes: of times that are normal with deviation s, the slowest of N is about s sqrt(2 ln N)
above the mean.

The steps are those of the bundled model with a LoRA, 16 images in all; processes share the cores, so not the time of a
step is told but the CPU time of all processes together over that of one, and the share of it that goes into sums.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from benchmarks.steps import OBJECTIVE, Case, parts_of
from thumbtune import launcher
from thumbtune.cli.terminal import quieten
from thumbtune.distributed import team
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.training import trainer
from thumbtune.training.cache import Cache
from thumbtune.training.trainer import Settings, Training, train

FILE = Path(__file__).with_suffix(".json")
COUNTS = (1, 2, 4)
SIZES = (2**12, 2**16, 2**20, 2**23)  # numbers of float32 in a sum
REPEATS, STEPS, WARM = 20, 8, 2
PROCESSES = (8, 64, 256, 1024)  # of the model
LATENCY, BANDWIDTH = 20e-6, 25e9  # seconds, and bytes a second: a network of 200 Gbit/s for each GPU, on paper
TRAINED = {  # parameters that are summed each step
    "SD 1.5, LoRA of rank 16 on attention": 3_188_736,
    "SD 1.5, all weights": 859_520_964,
    "SDXL, LoRA of rank 16 on attention": 23_224_320,
    "FLUX.1-dev, all weights": 11_901_408_320,
}
DEVIATION = 0.03  # of the time of a step between GPUs, on paper


def sum_seconds(size: float, count: int, latency: float, bandwidth: float) -> float:
    """Return the seconds of a sum of `size` bytes over `count` processes by a ring."""
    return 2 * (count - 1) * latency + 2 * (count - 1) / count * size / bandwidth


def slowest(count: int, deviation: float = DEVIATION) -> float:
    """Return how much longer than the mean the slowest of `count` processes takes, as a share of the mean."""
    return deviation * math.sqrt(2 * math.log(count))


def fitted(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return latency and bandwidth of the sums of two processes, each row weighing alike."""
    pair = [row for row in rows if row["processes"] == 2]
    seconds, sizes = np.array([row["seconds"] for row in pair]), np.array([row["bytes"] for row in pair])
    terms = np.stack([np.full(len(pair), 2.0), sizes.astype(float)], 1) / seconds[:, None]
    (latency, per_byte), *_ = np.linalg.lstsq(terms, np.ones(len(pair)), rcond=None)
    return max(float(latency), 0.0), 1 / max(float(per_byte), 1e-15)


def work(folder: Path) -> None:
    """Measure in one of the processes; the first one writes."""
    quieten()
    torch.set_num_threads(1)
    team()
    accelerator = Accelerator(cpu=True)
    sums = [_sum_row(accelerator, size) for size in SIZES] if accelerator.num_processes > 1 else []
    step = _step_row(accelerator, folder)
    if accelerator.is_main_process:
        told = json.dumps({"sums": sums, "step": step})
        (folder / f"{accelerator.num_processes}.json").write_text(told, encoding="utf-8")


def _sum_row(accelerator: Accelerator, size: int) -> dict[str, Any]:
    numbers, taken = torch.ones(size), []
    for _ in range(REPEATS):
        accelerator.wait_for_everyone()
        begun = time.perf_counter()
        accelerator.reduce(numbers, "sum")
        taken.append(time.perf_counter() - begun)
    return {"processes": accelerator.num_processes, "bytes": 4 * size, "seconds": statistics.median(taken)}


def _step_row(accelerator: Accelerator, folder: Path) -> dict[str, Any]:
    """Return the CPU seconds of a step in all processes together, and of the sums in it."""
    parts = parts_of(Case(name="bundled"), Cache(folder / f"cache-{accelerator.process_index}"))
    settings = Settings(steps=10**9, micro_batch=16)
    training = Training(parts.model, REFERENCE_POINTS["zero"](), settings, accelerator)
    summed = [0.0]
    add_up = trainer.add_up

    def timed(*given: Any) -> None:
        begun = time.process_time()
        add_up(*given)
        summed[0] += time.process_time() - begun

    trainer.add_up = timed
    steps = train(training, parts.batches, OBJECTIVE)
    for _ in range(WARM):
        next(steps)
    summed[0], begun = 0.0, time.process_time()
    for _ in range(STEPS):
        next(steps)
    trainer.add_up = add_up
    here = torch.tensor([time.process_time() - begun, summed[0]], dtype=torch.float64)
    everywhere: Any = accelerator.reduce(here, "sum")
    cpu, of_sums = (everywhere / STEPS).tolist()
    trained = sum(one.numel() for one in training.parameters)
    return {"processes": accelerator.num_processes, "cpu": cpu, "sums": of_sums, "trained": trained}


def measure() -> dict[str, Any]:
    """Start the processes, and return their rows and the model's answers."""
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            _run(count, Path(folder))
        told = [json.loads((Path(folder) / f"{count}.json").read_text(encoding="utf-8")) for count in COUNTS]
    sums = [row for one in told for row in one["sums"]]
    latency, bandwidth = fitted(sums)
    for row in sums:
        row["model"] = sum_seconds(row["bytes"], row["processes"], latency, bandwidth)
    return {"sums": sums, "steps": [one["step"] for one in told], "latency": latency, "bandwidth": bandwidth}


def _run(count: int, folder: Path) -> None:
    words = [sys.executable, "-m", "benchmarks.processes", "--worker", str(folder)]
    shared = launcher.shared_environment(count) | {"OMP_NUM_THREADS": "1"}
    places = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    started = [subprocess.Popen(words, env=place) for place in places]
    if any([process.wait() for process in started]):
        raise SystemExit("A process failed; read what it printed.")


def model_lines() -> list[str]:
    """Return the table of the model on paper: seconds of the sums of a step, by trained weights and number of GPUs."""
    lines = ["| trained | a sum, MB | " + " | ".join(f"{count:,} GPUs" for count in PROCESSES) + " |"]
    lines.append("|---" * (len(PROCESSES) + 2) + "|")
    for name, numbers in TRAINED.items():
        seconds = [sum_seconds(4 * numbers, count, LATENCY, BANDWIDTH) for count in PROCESSES]
        shown = [f"{1000 * one:,.1f} ms" if one < 1 else f"{one:.1f} s" for one in seconds]
        lines.append(f"| {name} | {4 * numbers / 1e6:,.0f} | " + " | ".join(shown) + " |")
    waits = [f"{slowest(count):.0%}" for count in PROCESSES]
    lines.append(f"| waiting for the slowest, of a step | | {' | '.join(waits)} |")
    return lines


def measured_lines(found: dict[str, Any]) -> list[str]:
    """Return the tables of what was measured."""
    lines = ["| processes | bytes of a sum | measured | model |", "|---|---|---|---|"]
    for row in found["sums"]:
        lines.append(
            f"| {row['processes']} | {row['bytes']:,} | {1e3 * row['seconds']:.2f} ms | {1e3 * row['model']:.2f} ms |"
        )
    alone = found["steps"][0]["cpu"]
    lines += ["", "| processes | CPU time of a step, all together | x one process | of it sums |", "|---|---|---|---|"]
    for row in found["steps"]:
        share = row["sums"] / row["cpu"]
        lines.append(f"| {row['processes']} | {1e3 * row['cpu']:.0f} ms | {row['cpu'] / alone:.2f} | {share:.1%} |")
    return lines


def main() -> None:
    """Measure, print the tables, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=FILE, help="the file of the rows")
    given = parser.parse_args()
    if given.worker:
        work(given.worker)
        return
    found = measure()
    print("\n".join([*measured_lines(found), "", *model_lines()]))
    about = {"hardware": f"{platform.machine()} CPU, {os.cpu_count()} cores", "load": os.getloadavg()[0]}
    given.out.write_text(json.dumps({**about, "torch": torch.__version__, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
