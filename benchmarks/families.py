"""The memory of a LoRA step of each published transformer, without weights and without a GPU.

    python -m benchmarks.families               all rows, into benchmarks/families.json; a table
    python -m benchmarks.families --only Klein  the models with this word in their names
    python -m benchmarks.families --columns nf4 this column alone; the others stay as they are

Each row is `runs.memory_estimate` of the defaults of the family, as on a GPU that computes in bf16: the peak of the
tensors that are alive at once, in GiB. The workspaces of kernels, the allocator's gaps and the driver, about 1 GiB,
come on top. One image of 1024 x 1024 pixels (480 x 480 for Wan, 512 x 512 for LTX-Video) is in the network at once, and
one is drawn; rank 16, attention layers (of FLUX.1 the
feed-forward layers too), activations checkpointed.

    weights            of the network in training with its LoRA, of two networks both
    step, int8, nf4    the peak of a step, with the frozen weights in bf16, int8 and nf4
    blocks             the same in bf16 with train.blocks_to_swap=all; "-": not measured
    encode, draw       the peaks of encoding an image or a prompt, and of drawing, with the weights in bf16; networks
                       take turns on the GPU
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.published import MODELS, Published, write_published
from thumbtune.runs.memory_estimate import Estimate, estimate
from thumbtune.runs.recipe import parse_recipe

FILE = Path(__file__).with_suffix(".json")
GIB = 2**30
COLUMNS = ("weights", "step", "int8", "nf4", "blocks", "encode", "draw")
BITS, BLOCKS = "train.quantize_base", "train.blocks_to_swap"
STEPS: dict[str, dict[str, str]] = {
    "step": {},
    "int8": {BITS: "int8"},
    "nf4": {BITS: "nf4"},
    "blocks": {BLOCKS: "all"},
}


def measure(folder: Path, model: Published, more: Mapping[str, Any]) -> Estimate:
    """Return the memory of a recipe for one image at once."""
    told = {"train.precision": "bf16", "train.size": model.size, "evaluate.size": str(model.size)}
    told["lora.targets"] = model.targets
    recipe = parse_recipe({"model": str(folder), **told, **more}, "row")
    found = estimate(recipe, micro_batch=1, at_once=1, accelerator=True)
    if found is None:
        raise SystemExit(f"{folder} cannot be counted")
    return found


def row(name: str, columns: Sequence[str] = COLUMNS) -> dict[str, float]:
    """Return columns of a model, in GiB; those of its weights, of encoding and of drawing come with its step."""
    model, peaks = MODELS[name], dict[str, int]()
    with tempfile.TemporaryDirectory() as parent:
        folder = write_published(Path(parent) / "model", name)
        for column in [column for column in STEPS if column in columns]:
            found = measure(folder, model, STEPS[column])
            peaks[column] = found.step
            if column == "step":
                peaks["weights"] = sum(size for part, size in found.networks.items() if part.startswith("transformer"))
                peaks |= {"encode": found.encode, "draw": found.in_turns}
    return {column: round(peak / GIB, 1) for column, peak in peaks.items()}


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return rows as a table of Markdown."""
    lines = [f"| GiB | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(str(row.get(column, '-')) for column in COLUMNS)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the rows, write them and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="measure the models with this word")
    parser.add_argument("--columns", default=",".join(COLUMNS), help="those to measure; the others stay")
    asked = parser.parse_args(words)
    rows = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in MODELS:
        if asked.only in name:
            found = rows.get(name, {}) | row(name, asked.columns.split(","))
            rows[name] = {column: found[column] for column in COLUMNS if column in found}
            print(name, rows[name], flush=True)
            FILE.write_text(json.dumps({name: rows[name] for name in MODELS if name in rows}, indent=1) + "\n")
    print(table({name: rows[name] for name in MODELS if name in rows}))


if __name__ == "__main__":
    main()
