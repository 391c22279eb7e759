"""The runs in a folder, as a list shows them: read from their files, without loading a model or a whole recipe."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError
from thumbtune.studio.jobs.files import texts_of
from thumbtune.studio.jobs.progress import steps_in
from thumbtune.studio.jobs.wording import in_studio
from thumbtune.training.records import STEPS, read_stop

MAX_RUNS = 200
MAX_RECIPE_BYTES = 100_000
TAIL_BYTES = 4096  # of steps.jsonl
PLANNED = re.compile(r"^train:\n(?:(?:  .*)?\n)*?  steps: (\d{1,18})$", re.MULTILINE)
RECIPE, REPORT = "recipe.yaml", "report.html"
RESULTS = ("lora", "unet", "transformer")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a list.

    steps: how many it is to take; verdict: of its evaluation; changed_at: seconds since 1970; reported: whether it has
    a report, which is a page of its own
    """

    name: str
    step: int
    steps: int | None
    finished: bool
    stopped: str | None
    verdict: str | None
    changed_at: float
    reported: bool


def runs_in(folder: Path) -> list[Run]:
    """Return the runs of a folder, the last changed first, at most MAX_RUNS."""
    try:
        folders = sorted((path for path in folder.iterdir() if path.is_dir()), key=_changed, reverse=True)
    except OSError:
        return []
    return [run for path in folders[:MAX_RUNS] if (run := run_in(path)) is not None]


def run_in(folder: Path) -> Run | None:
    """Return the run in a folder; None if there is none."""
    try:
        with (folder / RECIPE).open(encoding="utf-8", errors="replace") as file:
            recipe = file.read(MAX_RECIPE_BYTES)
    except OSError:
        return None
    planned = PLANNED.search(recipe)
    return Run(
        name=folder.name,
        step=_last_step(folder),
        steps=int(planned[1]) if planned else None,
        finished=any(next((folder / name).glob("*.safetensors"), None) is not None for name in RESULTS),
        stopped=_stopped(folder),
        verdict=_verdict(folder),
        changed_at=_changed(folder),
        reported=(folder / REPORT).is_file(),
    )


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """Return the numbers of all steps of a run."""
    return [row for text in texts_of(folder / STEPS) for row in steps_in(text)]


def last_steps(folder: Path) -> list[dict[str, Any]]:
    """Return the numbers of the last steps of a run, oldest first: those at the end of their file; [] if none."""
    try:
        with (folder / STEPS).open("rb") as source:
            source.seek(max(0, source.seek(0, os.SEEK_END) - TAIL_BYTES))
            return steps_in(source.read().decode("utf-8", "replace"))
    except OSError:
        return []


def _last_step(folder: Path) -> int:
    rows = last_steps(folder)
    return rows[-1]["step"] if rows else 0


def _stopped(folder: Path) -> str | None:
    try:
        record = read_stop(folder)
    except ThumbtuneError as error:
        return in_studio(str(error))
    return (
        None if record is None else in_studio(record.get("sentence") or f"A guard stopped it at step {record['step']}.")
    )


def _verdict(folder: Path) -> str | None:
    try:
        told = json.loads((folder / "evaluation" / "verdict.json").read_text(encoding="utf-8"))
        return str(told["sentence"])[:400]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _changed(folder: Path) -> float:
    """Return when a run last took a step, or began."""
    for file in (folder / STEPS, folder):
        try:
            return file.stat().st_mtime
        except OSError:
            continue
    return 0.0
