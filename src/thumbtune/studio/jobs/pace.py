"""How long a training takes at the pace of the last run of its model: hours are asked about before they begin."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.runs.durations import duration
from thumbtune.studio.jobs.runs import last_steps, runs_in

LONG_SECONDS = 3600.0
MANY_TIMES = 10  # the default steps of a model: asked about where nobody knows how long a step takes
MAX_LOOKED_AT = 20  # runs


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a training does: its steps, the images of each, the base model, and the side of its images if one is set."""

    steps: int
    batch: int
    model: str
    size: int | None


def question_of(work: Work, usual: int, runs: Path, work_in: Callable[[Path], Work]) -> str | None:
    """Return a sentence on a training that takes hours, or perhaps does; None for a shorter one.

    Args:
        usual: the default steps of its model.
        runs: the folder of runs, whose steps tell how long one takes here.
        work_in: returns what the run in a folder does; it may raise ThumbtuneError.
    """
    known = last_pace(work, runs, work_in)
    if known is not None:
        seconds, name = known
        if work.steps * seconds < LONG_SECONDS:
            return None
        return (
            f"{work.steps:,} steps take about {duration(work.steps * seconds)}: a step takes {duration(seconds)}, as "
            f"the last ones of the run {name} tell."
        )
    if work.steps <= MANY_TIMES * usual:
        return None
    return (
        f"{work.steps:,} steps are {work.steps // usual:,} times the {usual:,} that this model usually takes, and no "
        "run here tells how long a step takes; Estimate time and memory measures one."
    )


def last_pace(work: Work, runs: Path, work_in: Callable[[Path], Work]) -> tuple[float, str] | None:
    """Return the seconds of a step as the newest run of the same model and size tells it, and that run's name.

    A run with another batch counts by the images of a step. None: no such run has taken a step.
    """
    for run in runs_in(runs)[:MAX_LOOKED_AT]:
        seconds = [row["seconds"] for row in last_steps(runs / run.name) if row.get("seconds")]
        try:
            other = work_in(runs / run.name) if seconds else None
        except ThumbtuneError:  # a recipe of another version
            continue
        if other is not None and (other.model, other.size) == (work.model, work.size):
            return sum(seconds) / len(seconds) * work.batch / other.batch, run.name
    return None
