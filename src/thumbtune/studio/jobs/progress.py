"""What a job has done so far, read from what its command writes: steps.jsonl, samples, and lines of the log.

Functions from files or texts to values; they change nothing, and a file that is not there yet gives none.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.studio.jobs.files import NOTE
from thumbtune.training.step import with_new_names

# the numbers of a step that plots and the table show; steps.jsonl has more
SHOWN = (
    "step",
    "loss",
    "liked_log_ratio",
    "disliked_log_ratio",
    "reference_point",
    "saturation",
    "agreement",
    "held_out_liked",
    "lr",
    "seconds",
)
BAR = re.compile(r"^ {5}(?P<what>[^:]+): (?P<done>[\d,]+)(?: of (?P<total>[\d,]+))?(?:, (?P<rest>.*))?$")
SAMPLE = re.compile(r"(\d+)\.(png|webp)")
SAMPLES_OF = re.compile(r"step-(\d{6,})")
IMAGES = (".png", ".webp")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A line of a log on how far a work is, such as `Tuning: 35 of 140, 2.1 s each, about 4 min left`."""

    what: str
    done: int
    total: int | None = None
    rest: str = ""


def bar_of(line: str) -> Bar | None:
    """Return what a line of a log tells of progress; None for any other line.

    >>> bar_of("     Tuning: 35 of 1,400, 2.1 s each, about 4 min left")
    Bar(what='Tuning', done=35, total=1400, rest='2.1 s each, about 4 min left')
    """
    found = BAR.match(line)
    if found is None:
        return None
    return Bar(
        what=found["what"],
        done=_whole(found["done"]),
        total=None if found["total"] is None else _whole(found["total"]),
        rest=found["rest"] or "",
    )


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


def steps_in(text: str) -> list[dict[str, Any]]:
    """Return the steps of lines of steps.jsonl, with the numbers of SHOWN that they have; NaN becomes None.

    A line that is no step is left out: the command itself tells of a damaged file.
    """
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            row = with_new_names(json.loads(line, parse_constant=lambda _: None))
        except (ValueError, AttributeError):
            continue
        if isinstance(row.get("step"), int):
            rows.append({name: row[name] for name in SHOWN if name in row})
    return rows


def notes_in(lines: Iterable[str]) -> list[str]:
    """Return the notes of a log: what guards and checks told."""
    return [line.removeprefix(NOTE).strip() for line in lines if line.startswith(NOTE)]


def images_in(lines: Sequence[str]) -> int:
    """Return how many images `thumbtune generate` has written, by the paths that it printed."""
    return sum(line.endswith(IMAGES) and not line.startswith(" ") for line in lines)


def samples_of(run: Path) -> list[dict[str, Any]]:
    """Return the sample images of a run, by step: `{"step": 50, "files": [0, 1]}`, the numbers of their prompts."""
    found = []
    for folder in sorted((run / "samples").glob("step-*")):
        name = SAMPLES_OF.fullmatch(folder.name)
        if name is not None and folder.is_dir():
            numbers = sorted(int(file[1]) for file in map(SAMPLE.fullmatch, _names(folder)) if file)
            found.append({"step": int(name[1]), "files": numbers})
    return found


def sample_prompts(run: Path) -> list[str]:
    """Return the prompts of a run's samples, in the order of their numbers."""
    try:
        return (run / "samples" / "prompts.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def sample_file(run: Path, step: int, number: int) -> Path | None:
    """Return the file of a sample; None if there is none."""
    folder = run / "samples" / f"step-{step:06d}"
    return next((file for ending in IMAGES if (file := folder / f"{number}{ending}").is_file()), None)


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.is_file()]
