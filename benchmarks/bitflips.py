"""Is a bit that turns on the disk noticed? Bits at random places of a run and its cache, and what reads them.

    python -m benchmarks.bitflips FOLDER --bits 100

A run is trained and evaluated. A killed copy of it is resumed, and the whole one is shown and evaluated again, after a
bit was turned at a random place of a random file. Noticed is a bit whose file is named, in an error or in a note, or
whose file is written anew with the bytes of before. Prints the numbers of noticed and silent bits. `report.html` is
left out: it is made from the other files and read by none.
"""

import argparse
import os
import random
import shutil
import sys
import time
from pathlib import Path

from benchmarks import kills

LEFT_OUT = ("report.html",)
STOP = 9  # the step after which the copy was killed: its newest checkpoint


def call(folder: Path, *words: object, strict: bool = True) -> str:
    """Run the command line; return what it prints on standard error."""
    process = kills.call(folder, *words)
    while (code := process.poll()) is None:
        time.sleep(0.01)
    said = process.errors.read_text()
    if strict and code:
        raise SystemExit(f"thumbtune {' '.join(map(str, words))} ended with {code}: {said[-2000:]}")
    return said


def options(root: Path, model: str | None) -> list[str]:
    """Return the options of every training here."""
    chosen = [*kills.SETTINGS, f"likes={root / 'likes'}", "evaluate.steps=2", "evaluate.per_prompt=1"]
    chosen += ["evaluate.scorers=red", *([f"model={model}"] if model else [])]
    return [word for one in chosen for word in ("--set", one)]


def make(root: Path, model: str | None) -> None:
    """Train and evaluate one run in `root/whole`; in `root/killed` is what a kill after its ninth step leaves of it."""
    root.mkdir(parents=True)
    call(root, "import", kills.images(root / "images", 10), "--likes", root / "likes")
    run = root / "whole" / "run"
    call(root, "train", "--out", run, *options(root, model))
    call(root, "evaluate", run)
    killed = root / "killed" / "run"
    shutil.copytree(root / "whole", root / "killed")
    for name in ("lora", "evaluation", "checkpoints/step-000012"):
        shutil.rmtree(killed / name)
    lines = (killed / "steps.jsonl").read_text().splitlines(keepends=True)
    (killed / "steps.jsonl").write_text("".join(lines[:STOP]))
    sums = (killed / "SHA256SUMS").read_text().splitlines()
    kept = [line for line in sums if not line.endswith("steps.jsonl") and "  lora/" not in line]
    (killed / "SHA256SUMS").unlink()
    from thumbtune.checksums import record

    record(killed, [line[66:] for line in kept if not line.startswith("#")])


def lost_checkpoints(before: Path, after: Path, turned: Path) -> list[str]:
    """Return the checkpoints that are gone, though no bit of theirs was turned."""
    names = {folder.name for folder in before.glob("checkpoints/step-*")} - {turned.name}
    return sorted(names - {folder.name for folder in after.glob("checkpoints/step-*")})


def is_noticed(root: Path, kind: str, name: str, place: float, bit: int, model: str | None) -> bool:
    """Turn a bit of a file in a copy; return whether the commands that read it name the file or mend it."""
    folder = root / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / kind, folder)
    file, run = folder / name, folder / "run"
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    before = (root / kind / name).read_bytes()
    file.write_bytes(data)
    if kind == "killed":
        commands = [("train", "--out", run, "--resume", *options(root, model))]
    else:
        commands = [("report", run), ("evaluate", run)]
    for command in commands:
        said = call(root, *command, strict=False)
        is_named = str(file) in said or (str(file.parent) in said and file.name in said)
        if lost := lost_checkpoints(root / kind / "run", run, file.parent):
            print(f"lost with a bit of {name}: {', '.join(lost)}", flush=True)
            return False
        if is_named or f"{file.parent} is damaged" in said:
            return True
        if file.is_file() and file.read_bytes() == before:
            return True
    return False


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--bits", type=int, default=100)
    parser.add_argument("--model", help="default: the bundled one")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch loads
    kills.load()
    make(asked.folder, asked.model)
    chance, silent = random.Random(asked.seed), []
    for number in range(asked.bits):
        kind = chance.choice(["whole", "killed"])
        files = sorted(path for path in (asked.folder / kind).rglob("*") if path.is_file() and path.stat().st_size)
        if kind == "whole":  # what showing and judging a run read
            files = [path for path in files if not {"checkpoints", "cache"} & set(path.parts)]
        file = chance.choice([path for path in files if path.name not in LEFT_OUT])
        name = file.relative_to(asked.folder / kind).as_posix()
        place, bit = chance.random(), chance.randrange(8)
        if not is_noticed(asked.folder, kind, name, place, bit, asked.model):
            silent.append(f"{kind}/{name} at {place:.3f}, bit {bit}")
            print(f"silent: {silent[-1]}", flush=True)
        print(f"{number + 1 - len(silent)} of {number + 1} noticed", flush=True)
    print(f"{asked.bits} bits: {asked.bits - len(silent)} noticed, {len(silent)} silent")
    sys.exit(bool(silent))


if __name__ == "__main__":
    main()
