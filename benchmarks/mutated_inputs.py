"""Break inputs of every kind, and count what no input may do: tracebacks, hangs, gigabytes, success with nothing done.

    python -m benchmarks.mutated_inputs                     10,000 inputs
    python -m benchmarks.mutated_inputs --count 200         a few
    python -m benchmarks.mutated_inputs --only 1234         one of them again, with its output

Input N is the same in every run with one seed: its area, file and change follow from (seed, N). Whole inputs are
made first, in about a minute. Each broken one is read by a forked child, which has all imports done; it may take 20
seconds of CPU (or 120 of wall time) and 2 GiB. The table goes to standard output, the faults to FOLDER/faults.txt.
"""

import argparse
import importlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.mutated_areas import Area, areas, change, make_light, make_run

CPU_SECONDS, WALL_SECONDS, GIBIBYTES = 20, 120, 2
LIGHT = (
    *("pyarrow.parquet", "scipy.stats", "thumbtune.cli.app", "thumbtune.evaluation.prompts", "thumbtune.runs.recipe"),
    *("thumbtune.feedback.importers", "thumbtune.feedback.sources.kinds", "thumbtune.report.human_study"),
)
HEAVY = (
    *("matplotlib.backends.backend_agg", "peft", "transformers.models.clip.modeling_clip", "thumbtune.duels.evaluate"),
    *("thumbtune.report.page", "thumbtune.runs.generate", "thumbtune.runs.plan", "thumbtune.runs.tuning"),
)
FAULTS = ("traceback", "hang", "memory", "nothing done")
NOTHING = re.compile(r"\b0 likes, 0 dislikes")


@dataclass(frozen=True)
class Outcome:
    """What one input led to: done, refused, or a fault; the output, and the seconds of CPU."""

    kind: str
    output: str
    seconds: float


def thumbtune(words: Sequence[object]) -> int:
    """Run a command in this process, and return its exit code; errors that nobody expected are raised."""
    from thumbtune.cli.app import main

    sys.argv = ["thumbtune", *map(str, words)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def in_child(work: Callable[[], int], log: Path, limited: bool = True) -> tuple[int, resource.struct_rusage]:
    """Fork, do the work with its output in a file, and return the status of the child and what it used."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 71
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True, errors="replace")
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True, errors="replace")
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if limited:
                resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
                signal.alarm(WALL_SECONDS)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    return status, used


def outcome_of(area: Area, number: int, seed: int, folder: Path) -> Outcome:
    """Break input `number` of an area, let a child read it, and return what came of it."""
    random = Random(f"{seed} {number}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy = folder / "copy"
    shutil.copytree(area.good, copy, symlinks=True)
    files = sorted(file for pattern in area.files for file in copy.glob(pattern) if file.is_file())
    chosen = random.choice(files)
    change(random, chosen)
    if area.name in {"recipes", "dry runs", "prompts files", "LoRA files"}:
        chosen.rename(chosen.with_name(f"changed-{chosen.name}"))
    command = area.commands(random, copy)

    def work() -> int:
        from thumbtune.errors import ThumbtuneError

        os.chdir(folder)
        if isinstance(command, list):
            print("thumbtune", *command)
            return thumbtune(command)
        try:
            found = command()
        except ThumbtuneError as error:
            print(error)
            return 1
        return 0 if found else 72

    status, used = in_child(work, folder / "log")
    output = (folder / "log").read_text(errors="replace")
    return Outcome(_kind(status, used, output, isinstance(command, list)), output, used.ru_utime + used.ru_stime)


def _kind(status: int, used: resource.struct_rusage, output: str, is_command: bool) -> str:
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL} else "traceback"
    code = os.WEXITSTATUS(status)
    if used.ru_maxrss > GIBIBYTES * 2**20:  # kibibytes, on Linux
        return "memory"
    if code in {70, 71} or "Traceback (most recent call last)" in output:
        return "traceback"
    if code == 72 or (code == 0 and is_command and (NOTHING.search(output) or output.count("\n") < 2)):
        return "nothing done"
    return "done" if code == 0 else "refused"


def prepared(work: Path, light: bool) -> list[Area]:
    """Make the whole inputs in a child, and return the areas: all, or those that are `light`."""
    for make in (make_light,) if light else (make_light, make_run):
        ready = work / f"{make.__name__}-is-done"
        if not ready.exists():
            status, _ = in_child(lambda make=make: make(work, thumbtune) or 0, work / "making.log", limited=False)
            if status:
                sys.exit((work / "making.log").read_text())
            ready.touch()
    return [area for area in areas(work) if area.light or not light]


def load(light: bool) -> None:
    """Import what the commands of light areas import, or what any command imports, so that no child has to."""
    for name in (*LIGHT, *(() if light else HEAVY)):
        importlib.import_module(name)
    if not light:
        from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel  # noqa: F401


def plan(found: Sequence[Area], count: int, seed: int) -> list[Area]:
    """Return the area of each input, in an order that follows from the seed; each area gets its share, at least one."""
    listed = [area for area in found for _ in range(max(1, round(area.share * count)))]
    Random(seed).shuffle(listed)
    return listed


def run(work: Path, count: int, seed: int, only: int | None = None, light: bool = False) -> dict[str, Counter[str]]:
    """Run all inputs, or one; write the faults down, and return the counts of each area."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "THUMBTUNE_DEBUG": "1", "CUDA_VISIBLE_DEVICES": ""}
    listed = list(enumerate(plan(prepared(work, light), count, seed)))
    counts: dict[str, Counter[str]] = {}
    with (work / "faults.txt").open("w") as faults:
        load(light=True)
        for done, (number, area) in enumerate(sorted(listed, key=lambda each: not each[1].light)):
            if only not in {None, number}:
                continue
            if not area.light:
                load(light=False)  # late, since it costs time to fork a process that holds torch
            outcome = outcome_of(area, number, seed, work / "one")
            name = "importers" if area.name.startswith("import of") else area.name
            row = counts.setdefault(name, Counter())
            row[outcome.kind] += 1
            row["seconds"] += outcome.seconds  # type: ignore[assignment]
            row["slowest"] = max(row["slowest"], outcome.seconds)  # type: ignore[type-var, assignment]
            if outcome.kind in FAULTS:
                faults.write(f"--- {number} {area.name}: {outcome.kind}\n{outcome.output[-3000:]}\n")
                faults.flush()
            if only is not None:
                print(outcome.output, outcome.kind)
            if done % 500 == 499:
                print(f"{done + 1} of {len(listed)}", file=sys.stderr)
    return counts


def table(counts: dict[str, Counter[str]]) -> str:
    """Return the counts as a table of Markdown."""
    names = ("done", "refused", *FAULTS)
    total: Counter[str] = Counter()
    for row in counts.values():
        total += Counter({name: row[name] for name in (*names, "seconds")})
        total["slowest"] = max(total["slowest"], row["slowest"])
    lines = [
        "| input | changed | read | refused | tracebacks | over 20 s | over 2 GiB | exit 0 with nothing | slowest |"
    ]
    lines.append("|---|" + "---:|" * 8)
    for name, row in [*sorted(counts.items()), ("all", total)]:
        numbers = [sum(row[kind] for kind in names), *(row[kind] for kind in names)]
        lines.append(f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + f" | {row['slowest']:.1f} s |")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, run, and print the table; exit with 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--light", action="store_true", help="only inputs that are read without torch")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    work = (options.folder or Path(tempfile.mkdtemp(prefix="thumbtune-mutated-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    counts = run(work, options.count, options.seed, options.only, options.light)
    print(table(counts))
    faults = {kind: sum(row[kind] for row in counts.values()) for kind in FAULTS}
    summary = {"inputs": options.count, "seed": options.seed, **faults, "seconds": round(time.perf_counter() - begun)}
    print(json.dumps(summary))
    if any(faults.values()):
        sys.exit(f"The faults are in {work / 'faults.txt'}.")
    if options.folder is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
