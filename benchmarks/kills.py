"""Does a kill at any moment change a training? SIGKILLs over encoding, checkpoints and results, each resumed.

    python -m benchmarks.kills FOLDER --kills 200

Trainings are killed at random moments and at events in their folder (a cached tensor, a checkpoint, the result), and
resumed by the same command until they end. Every ended run is compared with one that nobody killed: the bytes of the
result and of the last checkpoint, and every number of steps.jsonl. Prints the number of kills, of differing runs and
of files that a killed process left behind.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

SETTINGS = ("train.steps=12", "train.batch=4", "train.micro_batch=2", "train.checkpoint_every=3", "train.cooldown=0")
SETTINGS += ("train.validation_share=0.3", "train.guards=false", "lora.rank=2")
EVENTS = ("cache/*/*.safetensors", "cache/*/.*.partial", "run/checkpoints/.*.partial", "run/checkpoints/step-*")
EVENTS += ("run/lora/.*.partial", "run/lora/*.safetensors", "run/.*.partial", "run/examples/*/.*.partial")
RESULTS = (
    "lora/pytorch_lora_weights.safetensors",
    "lora/kohya.safetensors",
    "checkpoints/step-000012/weights.safetensors",
)
RESULTS += ("checkpoints/step-000012/optimizer.safetensors",)
PATIENCE = 600  # seconds for one training


@dataclass
class Figures:
    """What the script prints."""

    runs: int = 0
    kills: int = 0
    different: int = 0
    left: int = 0
    failed: int = 0


def images(folder: Path, count: int) -> Path:
    """Write images of noise in like/ and dislike/, with their prompts beside them."""
    from PIL import Image

    noise = random.Random(0)
    for kind in ("like", "dislike"):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            Image.frombytes("RGB", (64, 64), noise.randbytes(64 * 64 * 3)).save(folder / kind / f"{i}.png")
            (folder / kind / f"{i}.txt").write_text(f"thing {i}")
    return folder


@dataclass(frozen=True)
class Process:
    """A command line in a child of this process, which has loaded everything before: most kills hit its work."""

    pid: int
    errors: Path

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return None if pid == 0 else os.waitstatus_to_exitcode(status)


def call(folder: Path, *words: object) -> Process:
    """Start the command line in a child; what it prints on standard error goes to a file in `folder`."""
    errors = folder / "errors.txt"
    pid = os.fork()
    if pid:
        return Process(pid, errors)
    code = 1
    try:
        for number, file in ((1, os.devnull), (2, str(errors))):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["thumbtune", *map(str, words)]
        from thumbtune.cli import main as entry

        entry()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def load() -> None:
    """Load all that a training needs, before any child is started; run nothing, since threads do not survive a fork."""
    for name in (
        *("thumbtune.cli.app", "thumbtune.runs.tuning", "thumbtune.duels.evaluate", "datasets", "accelerate", "peft"),
        *("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "transformers.models.clip.modeling_clip"),
        "transformers.models.clip.tokenization_clip",
    ):
        import_module(name)


def train(folder: Path, model: str | None) -> list[str]:
    """Return the words of the training in a folder; a second call of it continues the first."""
    run = folder / "run"
    words = ["train", "--out", str(run), *(["--resume"] if (run / "recipe.yaml").is_file() else [])]
    chosen = [*SETTINGS, f"likes={folder.parent / 'likes'}", *([f"model={model}"] if model else [])]
    return [*words, *(word for one in chosen for word in ("--set", one))]


def matches(folder: Path, pattern: str) -> set[Path]:
    """Return the files of a pattern; some may vanish meanwhile."""
    with contextlib.suppress(OSError):
        return set(folder.glob(pattern))
    return set()


def kill(process: Process, folder: Path, chance: random.Random, seconds: float) -> bool:
    """Kill a process at an event, or at a random moment if that comes first; return whether it was still at work."""
    until = time.monotonic() + chance.uniform(0.1, 1) * seconds
    event = chance.choice([None, *EVENTS])
    before, needed = (matches(folder, event), chance.choice([1, 1, 2, 5])) if event else (set(), 0)
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        if event is not None and len(matches(folder, event) - before) >= needed:
            break
        time.sleep(0.001 if event else 0.01)
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)
    return True


def log_of(run: Path) -> list[dict[str, object]]:
    """Return the steps of a run without the seconds they took."""
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def is_same(run: Path, whole: Path) -> bool:
    """Return whether a run ended as the one that nobody killed."""
    return log_of(run) == log_of(whole) and all((run / n).read_bytes() == (whole / n).read_bytes() for n in RESULTS)


def broken_runs(root: Path, model: str | None, kills: int, chance: random.Random) -> Iterator[Figures]:
    """Kill and resume trainings until there were enough kills; yield the figures after every run."""
    whole, figures = root / "whole", Figures()
    begun = time.monotonic()
    finish(call(whole, *train(whole, model)))
    seconds = time.monotonic() - begun
    while figures.kills < kills:
        folder = root / f"broken-{figures.runs}"
        folder.mkdir()
        for _ in range(chance.randint(3, 6)):
            figures.kills += kill(call(folder, *train(folder, model)), folder, chance, seconds)
        figures.failed += finish(call(folder, *train(folder, model))) != 0
        figures.runs += 1
        figures.different += not is_same(folder / "run", whole / "run")
        figures.left += len([*folder.rglob("*.partial"), *folder.rglob(".tmp*"), *folder.rglob("*.lock")])
        yield figures
        shutil.rmtree(folder)


def finish(process: Process) -> int:
    """Wait for a process; return its exit code, and print what it said if it failed."""
    until = time.monotonic() + PATIENCE
    while (code := process.poll()) is None:
        if time.monotonic() > until:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.02)
    if code:
        print(process.errors.read_text()[-1000:], flush=True)
    return code


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--images", type=int, default=20, help="of each kind")
    parser.add_argument("--model", help="default: the bundled one")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch loads
    load()
    asked.folder.mkdir(parents=True)
    (asked.folder / "whole").mkdir()
    finish(
        call(asked.folder, "import", images(asked.folder / "images", asked.images), "--likes", asked.folder / "likes")
    )
    figures = Figures()
    for figures in broken_runs(asked.folder, asked.model, asked.kills, random.Random(asked.seed)):
        print(f"{figures.runs} runs, {figures.kills} kills, {figures.different} differ", flush=True)
    print(
        f"{figures.kills} kills over {figures.runs} runs: {figures.different} runs with differing bits, "
        f"{figures.failed} that did not end, {figures.left} files left behind"
    )
    sys.exit(bool(figures.different or figures.failed or figures.left))


if __name__ == "__main__":
    main()
