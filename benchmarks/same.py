"""Has a change left every number as it was? Hashes of what a demo and short trainings of every kind end with.

    python -m benchmarks.same FOLDER            prints a line for each result: its hash and its name
    python -m benchmarks.same FOLDER --quick    leaves the full demo out

Run it on the code before and after a change, on one machine with one thread, and compare the two outputs. The demo
gives a LoRA, the scores of its duel against the base, and a verdict. The short trainings cover every objective, every
reference point and every option that changes what is learnt.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

COMMAND = [sys.executable, "-c", "from thumbtune.cli import main; main()"]
SEED = 20
SHORT = ("train.steps=6", "train.batch=8", "train.checkpoint_every=4", "train.cooldown=2")
KINDS = {
    "kto": (),
    "kto-5000": ("objective.beta=5000",),
    "kto-mismatched": ("objective.neutral=mismatched", "objective.beta=250"),
    "kto-balanced": ("objective.neutral=balanced", "objective.beta=250"),
    "kto-running": ("objective.neutral=running", "objective.beta=250"),
    "kto-zero-anchor": ("objective.neutral=zero", "objective.anchor=0.5", "objective.liked_weight=2"),
    "kto-loss-averse": ("objective.utility=loss-averse", "objective.beta=60"),
    "bco": ("objective.name=bco", "objective.neutral=balanced"),
    "dpo": ("objective.name=dpo", "objective.beta=500"),
    "sft": ("objective.name=sft",),
    "csft": ("objective.name=csft",),
    "micro-batch": ("train.micro_batch=3",),
    "ema-refresh": ("train.ema=0.9", "train.refresh_reference=3"),
    "full": ("train.weights=full", "train.lr=1e-5"),
    "noise-bias": ("train.noise_bias=2", "train.prompt_dropout=0.2", "train.liked_share=0.5"),
}


def run(*arguments: str, fine: tuple[int, ...] = (0,)) -> str:
    """Run the command line in a process of its own; returns what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, env=environment)
    if done.returncode not in fine:
        raise SystemExit(f"thumbtune {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def digest(file: Path) -> str:
    """The first 16 digits of a file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def weights(run_folder: Path) -> str:
    """The hash of the tensors alone: a header may hold names and versions."""
    from safetensors.numpy import load_file

    (file,) = [*run_folder.glob("lora/pytorch_lora_weights.safetensors"), *run_folder.glob("unet/*.safetensors")]
    total = hashlib.sha256()
    for name, tensor in sorted(load_file(file).items()):
        total.update(name.encode())
        total.update(tensor.tobytes())
    return total.hexdigest()[:16]


def steps(run_folder: Path) -> str:
    """The hash of every step's loss and counts, under whatever names they are logged."""
    rows = [json.loads(line) for line in (run_folder / "steps.jsonl").read_text().splitlines()]
    return hashlib.sha256(json.dumps([[row["step"], row["loss"]] for row in rows]).encode()).hexdigest()[:16]


def demo(folder: Path, *settings: str) -> Iterator[tuple[str, str]]:
    """The demo and the duel of its run against the base."""
    chosen = [part for one in settings for part in ("--set", one)]
    run("demo", "--taste", "line-art", "--seed", str(SEED), "--out", str(folder / "demo"), *chosen)
    trained = folder / "demo" / f"line-art-{SEED}" / "run"
    decision = json.loads(run("verdict", str(trained), "--json", fine=(0, 3, 4)))
    (scores,) = trained.glob("*/scores.csv")
    yield "demo: LoRA", weights(trained)
    yield "demo: steps", steps(trained)
    yield "demo: scores.csv", digest(scores)
    yield (
        "demo: images",
        hashlib.sha256("".join(map(digest, sorted(scores.parent.glob("[ab]/*")))).encode()).hexdigest()[:16],
    )
    yield "demo: verdict", decision["decision"]


def trainings(folder: Path) -> Iterator[tuple[str, str]]:
    """Six steps of every kind of training, on the demo's likes."""
    base = folder / "demo" / f"line-art-{SEED}"
    for name, settings in KINDS.items():
        out = folder / "runs" / name
        chosen = [
            part for one in (f"likes={base / 'likes'}", f"seed={SEED}", *SHORT, *settings) for part in ("--set", one)
        ]
        run("train", "--out", str(out), *chosen)
        yield f"{name}: weights", weights(out)
        yield f"{name}: steps", steps(out)


def main() -> None:
    """Print a line for each result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a demo of few steps and prompts")
    asked = parser.parse_args()
    quick = ("train.steps=10", "evaluate.seeds=1", "evaluate.steps=5") if asked.quick else ()
    for results in (demo(asked.folder, *quick), trainings(asked.folder)):
        for name, value in results:
            print(f"{value}  {name}", flush=True)


if __name__ == "__main__":
    main()
