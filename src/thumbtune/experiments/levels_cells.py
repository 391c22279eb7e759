"""The cells of `levels`: train as any method, then measure where over the noise levels the tuning acts.

The images are the base model's at prompts that nobody rated, so no training saw them. Wanted are those to which the
judge, which gave no label, gives log-odds above 0.
"""

import math
from typing import Any

import torch

from thumbtune.evaluation.scorers.style_classifier import LARGE
from thumbtune.experiments import demo
from thumbtune.experiments.ground_cells import tuned
from thumbtune.experiments.ground_labels import log_odds
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.noise_curves import DRAWS, LEVELS, measure_curves
from thumbtune.experiments.simulated_labels import (
    FIRST_SEED,
    SEEDS_PER_CONCEPT,
    SEEDS_PER_POOL,
    PoolImage,
    generate_missing,
)
from thumbtune.experiments.training_grid import Grid, GridCell, pool_sampler
from thumbtune.runs import build, run

PER_PROMPT = 4
DIGITS = 5  # of a stored number
MARGIN, MOVED = "margin", "moved"
MIDDLE = len(LEVELS) // 2
HALVES = {"low": range(MIDDLE), "high": range(MIDDLE, len(LEVELS))}  # of the noise: places in LEVELS
FACTS = {"levels": LEVELS, "draws": DRAWS, "images_per_prompt": PER_PROMPT}


def unrated_images(lab: Grid, cell: GridCell) -> list[PoolImage]:
    """Return the base model's images of a seed at the prompts that nobody rated; those that are missing are generated.

    Their seeds go on where those of the rated pool end.
    """
    folder, rated = lab.order.folder / "pools" / f"unrated-seed-{cell.seed}", len(demo.concepts()["rated"])
    first = FIRST_SEED + SEEDS_PER_POOL * cell.seed
    wanted = [
        PoolImage(folder / f"{place:02d}-{k:04d}.png", prompt, first + SEEDS_PER_CONCEPT * (rated + place) + k)
        for place, prompt in enumerate(lab.prompts())
        for k in range(PER_PROMPT)
    ]
    recipe = lab.recipe_of(cell)
    generate_missing(wanted, lambda: build.model_of(recipe, training=False), pool_sampler(lab, cell), lab.progress)
    return wanted


def tuned_with_curves(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Return the row of a method, and its numbers by noise level.

    levels:             margin and movement at each of `LEVELS`; a margin is None if all images are of one kind
    wanted:             how many of the images are wanted
    margin_low, _high:  the mean margin over the lower and the upper half of the levels; moved_low and _high alike
    """
    row = tuned(lab, cell)
    if row["status"] != "trained":
        return row
    pool = unrated_images(lab, cell)
    images, prompts = [one.image() for one in pool], [one.prompt for one in pool]
    wanted = torch.tensor(log_odds(GROUNDS[cell.ground], images, prompts, LARGE)) > 0
    model = run.trained_model(lab.recipe_of(cell), lab.run_of(cell))
    curves = measure_curves(model, model.encode(images), prompts, cell.seed)
    found = {MARGIN: curves.margin(wanted), MOVED: curves.moved}
    row |= {"wanted": int(wanted.sum()), "levels": {name: _stored(values) for name, values in found.items()}}
    return row | {
        f"{name}_{half}": _stored(values[list(places)].mean()[None])[0]
        for name, values in found.items()
        for half, places in HALVES.items()
    }


def _stored(values: torch.Tensor) -> list[float | None]:
    return [None if math.isnan(value) else round(value, DIGITS) for value in values.tolist()]  # NaN is no JSON
