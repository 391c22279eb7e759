"""What the reference's pass could cost otherwise: ways to compute it, against a plain step, in one run.

    python -m benchmarks.reference      the bundled model with a LoRA, 16 images, into reference.json; a table

    apart           as training does: the reference alone, without a graph
    one batch       reference and policy in one batch of 32, whose gradient is then that of 32 rows
    two steps       the reference of two steps in one batch of 32, half of its cost for each
    bf16            as apart, computed in bf16, the policy in float32
    channels last   as apart, with the channels of all images and weights last in memory

    x plain         a KTO step of this way, as a multiple of a plain step: 1 + what the reference adds to it
    error           how far the reference's error of an image is from that of apart, largest of 16, by the mean error

Times are CPU times; every way takes its turn, and a ratio is the median over the turns.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.steps import FIRST, ROUNDS, Case, parts_of, seconds_of
from thumbtune.training.cache import Cache

FILE = Path(__file__).with_suffix(".json")
PLAIN = "plain"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A model, and what it is given: noisy latents, times, conditions and what it should answer."""

    model: Any
    noisy: Tensor
    t: Tensor
    condition: Mapping[str, Tensor]
    target: Tensor

    def predicted(self) -> Tensor:
        """Return the network's output."""
        return self.model.predict(self.noisy, self.t, self.condition)

    def errors(self, output: Tensor) -> Tensor:
        """Return the error of each image."""
        return (output.float() - self.target).pow(2).flatten(1).mean(1)

    def twice(self) -> "Inputs":
        """Return the inputs of two batches in one."""
        both = {name: torch.cat([value, value]) for name, value in self.condition.items()}
        noisy, t, target = (torch.cat([one, one]) for one in (self.noisy, self.t, self.target))
        return Inputs(model=self.model, noisy=noisy, t=t, condition=both, target=target)


def inputs_of(case: Case, folder: Path) -> Inputs:
    """Return a model in training, and a batch of it."""
    parts = parts_of(case, Cache(folder))
    batch, model = parts.batches.batch(0), parts.model
    noisy = model.process.noised(batch.latents, batch.noise, batch.t)
    target = model.process.target(batch.latents, batch.noise, batch.t)
    return Inputs(model=model, noisy=noisy, t=batch.t, condition=batch.condition, target=target)


@torch.no_grad()
def referred(inputs: Inputs, half: bool = False) -> Tensor:
    """Return the reference's output, in bf16 if `half`."""
    with inputs.model.reference(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        return inputs.predicted()


def channels_last(inputs: Inputs) -> Tensor:
    """Return the reference's output, computed with the channels last in memory."""
    inputs.model.network.to(memory_format=torch.channels_last)
    try:
        return referred(inputs)
    finally:
        inputs.model.network.to(memory_format=torch.contiguous_format)


def learnt(inputs: Inputs, rows: int) -> None:
    """Make a pass, and the gradient of the first rows."""
    inputs.errors(inputs.predicted())[:rows].mean().backward()
    inputs.model.network.zero_grad()


def added(times: Mapping[str, float]) -> dict[str, float]:
    """Return what the reference adds to a plain step, as a multiple of it, of the seconds of one turn."""
    plain = times[PLAIN]
    return {
        "apart": times["apart"] / plain,
        "one batch": times["one batch"] / plain - 1,
        "two steps": times["two steps"] / 2 / plain,
        "bf16": times["bf16"] / plain,
        "channels last": times["channels last"] / plain,
    }


def measure(case: Case, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each way."""
    inputs = inputs_of(case, folder)
    twice, rows = inputs.twice(), len(inputs.t)
    works: dict[str, Callable[[], Any]] = {
        PLAIN: partial(learnt, inputs, rows),
        "apart": partial(referred, inputs),
        "one batch": partial(learnt, twice, rows),
        "two steps": partial(referred, twice),
        "bf16": partial(referred, inputs, half=True),
    }
    turns: list[dict[str, float]] = []
    for turn in range(FIRST + rounds):
        times = {name: seconds_of("cpu", work) for name, work in works.items()}
        inputs.model.network.to(memory_format=torch.channels_last)
        times["channels last"] = seconds_of("cpu", works["apart"])
        inputs.model.network.to(memory_format=torch.contiguous_format)
        if turn >= FIRST:
            turns.append(times)
    exact = inputs.errors(referred(inputs))
    found = {"bf16": referred(inputs, half=True), "channels last": channels_last(inputs)}
    found["two steps"] = referred(twice)[:rows]
    off = {name: float((inputs.errors(output) - exact).abs().max() / exact.mean()) for name, output in found.items()}
    return [
        {"way": way, "ratio": 1 + statistics.median(added(times)[way] for times in turns), "error": off.get(way)}
        for way in added(turns[0])
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = ["| the reference | x plain | error |", "|---|---|---|"]
    for row in rows:
        error = "" if row["error"] is None else f"{row['error']:.1g}"
        lines.append(f"| {row['way']} | {row['ratio']:.2f} | {error} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the ways, print a table, and write the rows."""
    parser = machine.parser_of(__doc__, FILE)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns that count")
    asked = parser.parse_args()
    threads = machine.threads_of_torch()
    about = machine.about(threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Case(name="bundled"), Path(folder), asked.rounds)
    print(table(rows))
    machine.keep(asked.out, about, rows)


if __name__ == "__main__":
    main()
