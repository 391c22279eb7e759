"""Do models of the true size train, stop, continue, draw and load elsewhere, in the memory that was told before?

    python -m benchmarks.true_size                     on a CPU: every case, into benchmarks/true_size.json; a table
    python -m benchmarks.true_size --only sd15-lora    one case, which replaces its row
    python -m benchmarks.true_size --told              tell the memory of the kept rows anew, without training
    python -m benchmarks.true_size --gpu               on a GPU: SD 1.5 and SDXL at 512 and 1024 pixels, trained alone,
                                                       and SDXL with blocks in the memory of the machine
    python -m benchmarks.true_size --tiny              every case with small networks, in a minute, to try the script

The networks have the published architecture and random weights. Each case trains on four images of noise, is stopped by
Ctrl-C after its first step and continues; then it generates an image, duels its base on one prompt, and generates the
same image in a process that has diffusers alone. Memory is the peak of a process: of a GPU what torch reserved.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.models import SD1, SD2, SDXL, TINY_SIZE, write_model, write_weights

FILE = Path(__file__).with_suffix(".json")
GIB = 2**30
PROMPT, SEED, DRAWN_STEPS = "a red fox in the snow", 7, 2
PATIENCE = 3600  # seconds for one command
# a command in its own process, which leaves its peaks in the file PEAKS
COMMAND = """
import atexit, json, os, resource, sys
def peaks():
    torch = sys.modules.get("torch")
    gpu = torch.cuda.max_memory_reserved() if torch is not None and torch.cuda.is_initialized() else 0
    found = {"cpu": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "gpu": gpu}
    open(os.environ["PEAKS"], "w").write(json.dumps(found))
atexit.register(peaks)
from thumbtune.cli import main
main()
"""
DIFFUSERS = """
import sys
import torch
from diffusers import DiffusionPipeline
model, lora, steps, guidance, size, prompt, seed, out = sys.argv[1:]
pipeline = DiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32, variant=None)
pipeline.load_lora_weights(lora)
pipeline(prompt, num_inference_steps=int(steps), guidance_scale=float(guidance), height=int(size), width=int(size),
         generator=torch.Generator("cpu").manual_seed(int(seed))).images[0].save(out)
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training of a model of one size.

    batch: images of a step
    draws: whether its images are compared too
    more: settings beside
    """

    name: str
    family: str
    size: int
    weights: str = "lora"
    batch: int = 1
    draws: bool = True
    more: tuple[str, ...] = ()


CPU_CASES = (
    Case(name="sd15-lora", family=SD1, size=512, batch=2),
    Case(name="sd21-lora", family=SD2, size=512, batch=2),
    Case(name="sdxl-lora", family=SDXL, size=1024, draws=False),
    Case(name="sd15-full", family=SD1, size=256, weights="full", draws=False),
)
GPU_CASES = tuple(
    Case(name=f"{name}-{size}", family=family, size=size, batch=4, draws=False)
    for name, family in (("sd15", SD1), ("sdxl", SDXL))
    for size in (512, 1024)
)
# its seconds of a step beside those of the same case without it tell what travelling takes
GPU_CASES += (replace(GPU_CASES[-1], name="sdxl-1024-blocks", more=("train.blocks_to_swap=all",)),)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a case gave. Memory in GiB, time in seconds; None: not tried.

    estimated, measured: the memory of training
    step: of the last step
    resumed: whether it continued after Ctrl-C and ended
    duel: whether a duel of its base and itself ended
    equal: the largest difference of a pixel of 0 to 255 in diffusers alone
    """

    case: str
    device: str
    estimated: float
    measured: float
    step: float
    resumed: bool
    duel: bool | None = None
    equal: int | None = None

    @property
    def ratio(self) -> float:
        """Return the estimate as a part of what was measured."""
        return self.estimated / self.measured


def likes(folder: Path, size: int) -> Path:
    """Write two liked and two disliked images of noise, with their prompts, and import them; return the store."""
    from PIL import Image

    noise = random.Random(0)
    for kind in ("like", "dislike"):
        (folder / "images" / kind).mkdir(parents=True)
        for i in range(2):
            small = Image.frombytes("RGB", (16, 16), noise.randbytes(16 * 16 * 3))
            small.resize((size, size)).save(folder / "images" / kind / f"{i}.png")
            (folder / "images" / kind / f"{i}.txt").write_text(f"a thing of kind {i}")
    code, _, said = command(folder, "import", folder / "images", "--likes", folder / "likes")
    assert code == 0, said
    return folder / "likes"


def command(folder: Path, *words: object, interrupt_at: Path | None = None) -> tuple[int, Mapping[str, int], str]:
    """Run a command; return its exit code, its peaks and what it said. Ctrl-C comes when a log has its first line."""
    peaks = folder / "peaks.json"
    peaks.unlink(missing_ok=True)
    said = folder / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, words)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PEAKS": str(peaks)},
        )
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if interrupt_at is not None and interrupt_at.is_file() and interrupt_at.read_text().count("\n") >= 1:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
            time.sleep(0.2)
        if process.poll() is None:
            process.kill()
            process.wait()
    found = json.loads(peaks.read_text()) if peaks.is_file() else {"cpu": 0, "gpu": 0}
    return process.returncode, found, said.read_text()


def settings(case: Case, model: Path, store: Path) -> list[str]:
    """Return the settings of a case's training; the others are the defaults of its family."""
    chosen: dict[str, Any] = {"model": model, "likes": store, "train.weights": case.weights, "train.steps": 3}
    chosen |= {"train.batch": case.batch, "train.size": case.size, "train.validation_share": 0}
    chosen |= {"train.checkpoint_every": 3, "train.guards": "false", "train.warmup": 0, "train.cooldown": 0}
    return [*(f"{name}={value}" for name, value in chosen.items()), *case.more]


def told_of(case: Case, model: Path, store: Path) -> float:
    """Return the memory that is told before a case trains, with pages that can be given back, in GiB."""
    from thumbtune.runs.forecast import forecast_of
    from thumbtune.runs.recipe import read_recipe

    forecast = forecast_of(read_recipe(None, settings(case, model, store)))
    assert forecast is not None
    return round((forecast.needed + forecast.pages) / GIB, 2)


def run_case(case: Case, model: Path, folder: Path) -> Row:
    """Do all that a case asks for."""
    store, run = likes(folder, case.size), folder / "run"
    chosen, told = settings(case, model, store), told_of(case, model, store)
    words = ["train", "--out", run, *(word for setting in chosen for word in ("--set", setting))]
    code, first, said = command(folder, *words, interrupt_at=run / "steps.jsonl")
    assert code == 130, f"{case.name}: Ctrl-C gave {code}: {said[-2000:]}"
    code, second, said = command(folder, *words, "--resume")
    assert code == 0, f"{case.name}: {said[-2000:]}"
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    kind = "gpu" if first["gpu"] else "cpu"
    row = Row(
        case=case.name,
        device=device(),
        estimated=told,
        measured=round(max(first[kind], second[kind]) / GIB, 2),
        step=round(steps[-1]["seconds"], 1),
        resumed=len(steps) == 3,
    )
    if not case.draws:
        return row
    return replace(row, duel=duel(case, run, folder), equal=in_diffusers(case, model, run, folder))


def drawing(case: Case) -> list[str]:
    """Return the options of drawing."""
    return ["--steps", str(DRAWN_STEPS), "--guidance", "7.5", "--size", str(case.size)]


def duel(case: Case, run: Path, folder: Path) -> bool:
    """Return whether a duel of the base and the run ends with a result."""
    from thumbtune.runs.run import recipe_in

    (folder / "prompts.txt").write_text(f"{PROMPT}\n")
    code, _, said = command(
        *(folder, "duel", recipe_in(run).model, run, "--prompts", folder / "prompts.txt", "--scorers", "red"),
        *("--out", folder / "duel", "--per-prompt", 1, *drawing(case)),
    )
    assert code == 0, f"{case.name}: {said[-2000:]}"
    return (folder / "duel" / "result.json").is_file()


def in_diffusers(case: Case, model: Path, run: Path, folder: Path) -> int:
    """Return the largest difference of a pixel between our image and that of diffusers with the LoRA."""
    import numpy as np
    from PIL import Image

    code, _, said = command(
        *(folder, "generate", PROMPT, "--run", run, "--out", folder / "drawn", "--seeds", 1),
        *("--first-seed", SEED, *drawing(case)),
    )
    assert code == 0, f"{case.name}: {said[-2000:]}"
    (ours,) = (folder / "drawn").glob("*.png")
    theirs = folder / "theirs.png"
    words = [model, run / "lora", DRAWN_STEPS, 7.5, case.size, PROMPT, SEED, theirs]
    subprocess.run([sys.executable, "-c", DIFFUSERS, *map(str, words)], check=True)
    one, other = (np.asarray(Image.open(file)).astype(int) for file in (ours, theirs))
    return int(np.abs(one - other).max())


def device() -> str:
    """Return the name of the device."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table of Markdown."""
    lines = ["| case | estimated GiB | measured GiB | ratio | s a step | resumed | duel | pixels differ by | device |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        tried = ["-" if value is None else str(value) for value in (row.duel, row.equal)]
        numbers = f"{row.estimated:.2f} | {row.measured:.2f} | {row.ratio:.2f} | {row.step:.1f} | {row.resumed}"
        lines.append(f"| {row.case} | {numbers} | {' | '.join(tried)} | {row.device} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Do the cases, keep their rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the case with this name")
    parser.add_argument("--told", action="store_true", help="tell the memory of kept rows anew; train nothing")
    parser.add_argument("--gpu", action="store_true", help="the cases of a GPU")
    parser.add_argument("--tiny", action="store_true", help="small networks; keep no row")
    parser.add_argument("--folder", type=Path, help="for models and runs, up to 30 GB; default: a temporary one")
    asked = parser.parse_args(words)
    cases = [case for case in (GPU_CASES if asked.gpu else CPU_CASES) if asked.only in (None, case.name)]
    place = asked.folder or Path(tempfile.mkdtemp())
    kept = {row["case"]: Row(**row) for row in json.loads(FILE.read_text())} if asked.told else {}
    cases = [case for case in cases if case.name in kept or not asked.told]
    rows: list[Row] = []
    for case in [replace(case, size=TINY_SIZE) for case in cases] if asked.tiny else cases:
        model = place / f"{case.family}{'-tiny' if asked.tiny else ''}"
        if not model.exists():
            write_weights(write_model(model, case.family, tiny=asked.tiny))
        folder = place / case.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if asked.told:
            told = told_of(case, model, likes(folder, case.size))
            rows.append(replace(kept[case.name], estimated=told))
        else:
            rows.append(run_case(case, model, folder))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        if not asked.tiny:
            keep(rows[-1])
    print(table(rows))


def keep(row: Row) -> None:
    """Put a row in the place of the one of the same case and device."""
    kept = json.loads(FILE.read_text()) if FILE.is_file() else []
    kept = [other for other in kept if (other["case"], other["device"]) != (row.case, row.device)]
    FILE.write_text(json.dumps([*kept, asdict(row)], indent=1) + "\n")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
