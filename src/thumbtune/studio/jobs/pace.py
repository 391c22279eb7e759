"""How long a training takes at the pace of the last run of its model: hours are asked about before they begin."""

from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.runs.durations import duration
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.studio.jobs.runs import RECIPE, last_steps, runs_in

LONG_SECONDS = 3600.0
MANY_TIMES = 10  # the default steps of a model: asked about where nobody knows how long a step takes
MAX_LOOKED_AT = 20  # runs


def question_of(recipe: Recipe, runs: Path) -> str | None:
    """Return a sentence on a training that takes hours, or perhaps does; None for a shorter one.

    Args:
        runs: the folder of runs, whose steps tell how long one takes here.
    """
    steps = recipe.train.steps
    known = last_pace(recipe, runs)
    if known is not None:
        seconds, name = known
        if steps * seconds < LONG_SECONDS:
            return None
        return (
            f"{steps:,} steps take about {duration(steps * seconds)}: a step takes {duration(seconds)}, as the last "
            f"ones of the run {name} tell."
        )
    usual = read_recipe(None, [f"model={recipe.model}"]).train.steps
    if steps <= MANY_TIMES * usual:
        return None
    return (
        f"{steps:,} steps are {steps // usual:,} times the {usual:,} that this model usually takes, and no run here "
        "tells how long a step takes; Estimate time and memory measures one."
    )


def last_pace(recipe: Recipe, runs: Path) -> tuple[float, str] | None:
    """Return the seconds of a step as the newest run of the same model and size tells it, and that run's name.

    A run with another batch counts by the images of a step. None: no such run has taken a step.
    """
    for run in runs_in(runs)[:MAX_LOOKED_AT]:
        seconds = [row["seconds"] for row in last_steps(runs / run.name) if row.get("seconds")]
        try:
            other = read_recipe(runs / run.name / RECIPE, []) if seconds else None
        except ThumbtuneError:  # of another version
            continue
        if other is not None and (other.model, other.train.size) == (recipe.model, recipe.train.size):
            return sum(seconds) / len(seconds) * recipe.train.batch / other.train.batch, run.name
    return None
