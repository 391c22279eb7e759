"""How long commands take before they do their work, and which packages they load in that time.

    python -m benchmarks.startup      every command five times, into benchmarks/startup.json; a table

    s, CPU s    medians of the clock and of the CPU time of the process, which load does not change as much
    loading     what each package's own modules take of the time of loading all (`python -X importtime`), in a run more

`first step` is a training of 16 images of noise, from the start of the process to the end of its first step; images and
prompts are to be encoded.
"""

import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine

FILE = Path(__file__).with_suffix(".json")
TURNS = 5
IMAGES, SIDE = 16, 64
NAMED = 6  # packages in the table
MAIN = "from thumbtune.cli import main; main()"
# a training that ends at its first line in the log
FIRST_STEP = """
import os
from thumbtune.runs import tuning
write = tuning._write_step
def written(*given):
    write(*given)
    os._exit(0)
tuning._write_step = written
"""
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the words of Python for each command, whose likes are in a folder."""
    likes = str(folder / "likes")
    words = {"train.steps": 1, "likes": likes, "train.batch": 16, "train.validation_share": 0, "train.guards": "false"}
    settings = [word for name, value in words.items() for word in ("--set", f"{name}={value}")]
    return {
        "python alone": ["-c", "pass"],
        "import thumbtune": ["-c", "import thumbtune"],
        "thumbtune --help": ["-c", MAIN, "--help"],
        "thumbtune likes stats": ["-c", MAIN, "likes", "stats", "--likes", likes],
        "first step": ["-c", FIRST_STEP + MAIN, "train", "--out", str(folder / "run"), *settings],
    }


def write_likes(folder: Path) -> None:
    """Import images of noise, half of them liked."""
    from PIL import Image

    noise = random.Random(0)
    for number in range(IMAGES):
        kind = folder / "images" / ("like" if number % 2 else "dislike")
        kind.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (SIDE, SIDE), noise.randbytes(SIDE * SIDE * 3)).save(kind / f"{number}.png")
        (kind / f"{number}.txt").write_text(f"a red apple, number {number}")
    run(["-c", MAIN, "import", str(folder / "images"), "--likes", str(folder / "likes")], folder)


def run(words: Sequence[str], folder: Path, *flags: str) -> tuple[float, float, str]:
    """Run Python; return its seconds by the clock and of the CPU, and its errors.

    Raises:
        RuntimeError: it failed.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    found = subprocess.run(
        [sys.executable, *flags, *words], cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if found.returncode:
        raise RuntimeError(f"{words[-1]} ended with {found.returncode}: {found.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, found.stderr


def loads_in(errors: str) -> dict[str, float]:
    """Return the milliseconds of each package's own modules, from what `-X importtime` wrote; the longest first."""
    found: Counter[str] = Counter()
    for own, name in LINE.findall(errors):
        found[name.partition(".")[0]] += int(own)
    return {name: microseconds / 1000 for name, microseconds in found.most_common()}


def measure(words: Sequence[str], folder: Path, turns: int) -> tuple[list[float], list[float], Mapping[str, float]]:
    """Return the seconds of the clock and of the CPU of each turn, and the packages that are loaded."""
    walls, cpus = [], []
    for _ in range(turns):
        _forget_run(folder)
        wall, cpu, _ = run(words, folder)
        walls.append(wall)
        cpus.append(cpu)
    _forget_run(folder)
    return walls, cpus, loads_in(run(words, folder, "-X", "importtime")[2])


def _forget_run(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder / "run", ignore_errors=True)


def row_of(name: str, walls: Sequence[float], cpus: Sequence[float], loads: Mapping[str, float]) -> dict[str, Any]:
    """Return the row of a command."""
    most = {package: round(ms) for package, ms in list(loads.items())[:NAMED]}
    return {
        "command": name,
        "seconds": round(statistics.median(walls), 2),
        "cpu": round(statistics.median(cpus), 2),
        "loading": round(sum(loads.values()) / 1000, 2),
        "packages": most,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = ["| command | s | CPU s | loading modules |", "|---|---|---|---|"]
    for row in rows:
        most = ", ".join(f"{name} {ms / 1000 / row['loading']:.0%}" for name, ms in row["packages"].items())
        lines.append(f"| {row['command']} | {row['seconds']:.2f} | {row['cpu']:.2f} | {most} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every command, print a table, and write the rows."""
    parser = machine.parser_of(__doc__, FILE)
    parser.add_argument("--turns", type=int, default=TURNS, help="runs of each command")
    asked = parser.parse_args()
    about, rows = machine.about(), []
    with tempfile.TemporaryDirectory() as place:
        write_likes(Path(place))
        for name, words in commands(Path(place)).items():
            rows.append(row_of(name, *measure(words, Path(place), asked.turns)))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    machine.keep(asked.out, about, rows)


if __name__ == "__main__":
    main()
