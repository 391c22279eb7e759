"""The memory of a training by setting, at the true sizes of SD 1.5 and SDXL, without weights and without a GPU.

    python -m benchmarks.memory              all rows, into benchmarks/memory.json; a table
    python -m benchmarks.memory --only full  the rows with this word

Each row is `runs.memory_estimate` of a recipe, as on a GPU: the peak of the tensors that are alive at once, in GiB. The
workspaces of kernels, the allocator's gaps and the driver, about 1 GiB, come on top. One image is in the network at
once, and one image is drawn.

    weights     of the network in training with its LoRA; with `train.weights=full` the step holds the reference too
    optimiser   the moments
    step, encode, draw    the peaks, each with all that is on the card then
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import SD1, SDXL, write_empty_weights, write_model
from thumbtune.runs.memory_estimate import Estimate, estimate
from thumbtune.runs.recipe import parse_recipe

FILE = Path(__file__).with_suffix(".json")
GIB = 2**30
BF16 = {"train.precision": "bf16"}
CHECKPOINTING = {"train.gradient_checkpointing": True}
SAVING = BF16 | CHECKPOINTING


@dataclass(frozen=True)
class Row:
    """A setting, by its name, and the processes that divide the network; the numbers are those of one of them."""

    name: str
    options: Mapping[str, Any]
    processes: int = 1


FULL = {"train.weights": "full"}
SHARD = {"train.shard": True}
ROWS = (
    Row("LoRA, float32", {"train.gradient_checkpointing": False, "train.precision": "no"}),
    Row("LoRA, float32, checkpointing", CHECKPOINTING | {"train.precision": "no"}),
    Row("LoRA, bf16", BF16 | {"train.gradient_checkpointing": False}),
    Row("LoRA, bf16, checkpointing (default)", SAVING),
    Row("LoRA, the same, 8-bit optimiser", SAVING | {"train.optimizer": "adamw-8bit"}),
    Row("LoRA, the same, int8 base", SAVING | {"train.quantize_base": "int8"}),
    Row("LoRA, the same, nf4 base", SAVING | {"train.quantize_base": "nf4"}),
    Row("full, float32, checkpointing", FULL | CHECKPOINTING | {"train.precision": "no"}),
    Row("full, bf16", FULL | BF16 | {"train.gradient_checkpointing": False}),
    Row("full, bf16, checkpointing", FULL | SAVING),
    Row("full, the same, 8-bit optimiser", FULL | SAVING | {"train.optimizer": "adamw-8bit"}),
    Row("full, bf16, checkpointing, divided by 2", FULL | SAVING | SHARD, 2),
    Row("full, bf16, checkpointing, divided by 8", FULL | SAVING | SHARD, 8),
)


def measure(folder: Path, row: Row) -> Estimate:
    """Return the memory of a row, for one image at once."""
    recipe = parse_recipe({"model": str(folder), **row.options}, row.name)
    found = estimate(recipe, micro_batch=1, at_once=1, accelerator=True, processes=row.processes)
    assert found is not None
    return found


def numbers(found: Estimate) -> dict[str, float]:
    """Return the columns of the table, in GiB."""
    columns = {
        "weights": found.networks["unet"],
        "optimiser": found.optimiser - found.reference,
        "step": found.step,
        "encode": found.encode,
        "draw": found.generate,
    }
    return {name: round(value / GIB, 2) for name, value in columns.items()}


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return the results as a table of Markdown."""
    lines = ["| GiB | weights | optimiser | step | encode | draw |", "|---|---|---|---|---|---|"]
    for model, rows in results.items():
        for name, row in rows.items():
            lines.append(f"| {model}: {name} | {' | '.join(f'{value:.2f}' for value in row.values())} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the rows, write them and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="measure the rows with this word, and write nothing")
    only = parser.parse_args(words).only
    results: dict[str, dict[str, dict[str, float]]] = {}
    for family, name in ((SD1, "SD 1.5 at 512"), (SDXL, "SDXL at 1024")):
        with tempfile.TemporaryDirectory() as folder:
            model = write_empty_weights(write_model(Path(folder), family))
            rows = [row for row in ROWS if row.processes == 1 or family == SDXL]  # of SD 1.5 one device has room
            chosen = [row for row in rows if only in f"{name}: {row.name}"]
            results[name] = {row.name: numbers(measure(model, row)) for row in chosen}
    print(table(results))
    if not only:
        FILE.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
