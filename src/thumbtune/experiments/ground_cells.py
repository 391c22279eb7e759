"""The cells of a ground: train, generate on the concepts that nobody rated, and score every image by both networks.

    base    the base model at bare prompts                     share of the headroom 0
    asked   the base model with the wanted style in the prompt  share of the headroom 1
    any     a method, which the person's labels tuned

A row holds the scores of every image, so that pages are made of rows alone. Images of one training seed have the same
prompts and seeds in all rows, and so are paired.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from PIL.Image import Image

from thumbtune.evaluation.scorers.faithfulness import FaithfulnessJudge
from thumbtune.evaluation.scorers.style_classifier import LARGE, SMALL
from thumbtune.evaluation.scorers.style_scorers import CLIP
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_labels import log_odds, wanted_styles
from thumbtune.experiments.grounds import FIRST_SEED, GROUNDS, Ground
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import Grid, GridCell, trained
from thumbtune.models.protocol import PipelineModel
from thumbtune.runs import build, run

BASE, ASKED = "base", "asked"
MARKS = (BASE, ASKED)
IMAGES_AT_ONCE = 24
DIGITS = 4  # of a stored score
Measure = Callable[[Grid, GridCell], dict[str, Any]]


def ground_cell(ground: str, name: str, seed: int, settings: Sequence[str] = (), **more: Any) -> GridCell:
    """Return a cell of a ground; `more` are further fields, and a `rating` replaces the ground's own."""
    given: dict[str, Any] = {"rating": Rating(flipped=GROUNDS[ground].flipped)} | more
    return GridCell(name=name, seed=seed, taste=ground, ground=ground, settings=tuple(settings), **given)


def mark_cells(ground: str, seed: int) -> list[GridCell]:
    """Return the cells of the two reference marks of a seed."""
    return [ground_cell(ground, name, seed, columns={"method": name}) for name in MARKS]


def measured(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Return the row of a mark or of a training by the cell's settings."""
    if cell.name in MARKS:
        return marked(lab, cell)
    return tuned(lab, cell)


def marked(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Return the row of a reference mark."""
    recipe = lab.recipe_of(cell)
    model = build.model_of(recipe, training=False)
    return {"status": "trained"} | scored(lab, cell, model, is_asked=cell.name == ASKED)


def tuned(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Train by the cell's settings, and return its row: counts, CPU seconds, means, and the scores of every image."""
    row = trained(lab, cell)
    if row["status"] != "trained":
        return row
    model = run.trained_model(lab.recipe_of(cell), lab.run_of(cell))
    return row | scored(lab, cell, model)


def scored(lab: Grid, cell: GridCell, model: PipelineModel, is_asked: bool = False) -> dict[str, Any]:
    """Generate the images of a cell with a model; return their scores and the means of these.

    is_asked: whether the wanted style stands in each prompt, as the person would ask for it
    """
    ground = GROUNDS[cell.ground]
    return means_of(scores_of(ground, *images_of(lab, cell, model, ground if is_asked else None)))


def images_of(
    lab: Grid, cell: GridCell, model: PipelineModel, asked: Ground | None = None
) -> tuple[list[Image], list[str]]:
    """Generate the images of a cell with a model; return them and their bare prompts.

    asked: whose wanted style stands in each prompt; None: nobody's
    """
    recipe = lab.recipe_of(cell)
    count = recipe.evaluate.per_prompt
    prompts = [prompt for prompt in lab.prompts() for _ in range(count)]
    seeds = [recipe.evaluate.first_seed + place for place in range(len(prompts))]
    texts = prompts
    if asked is not None:
        texts = [f"{prompt}, {style}" for prompt, style in zip(prompts, wanted_styles(asked, prompts), strict=True)]
    images: list[Image] = []
    for start in lab.progress(range(0, len(texts), IMAGES_AT_ONCE), "Generating images"):
        part = slice(start, start + IMAGES_AT_ONCE)
        images += model.generate(texts[part], seeds[part], build.sampler_of(recipe))
    return images, prompts


def scores_of(ground: Ground, images: Sequence[Image], prompts: Sequence[str]) -> dict[str, list[float]]:
    """Return score -> its value for each image, as rows store them.

    judge:        log-odds of the wanted style by the large network, which gave no label, cut off at -6 and 6
    rater:        the same by the small network, which gave the labels
    faithfulness: the chance that the image shows its bare prompt
    """
    by_network = {
        name: [max(-CLIP, min(CLIP, value)) for value in log_odds(ground, images, prompts, network)]
        for name, network in (("judge", LARGE), ("rater", SMALL))
    }
    scores = by_network | {"faithfulness": faithfulness_judge().score(images, prompts).tolist()}
    return {name: [round(value, DIGITS) for value in values] for name, values in scores.items()}


def means_of(scores: dict[str, list[float]]) -> dict[str, Any]:
    """Return a row's means of its scores, and the scores.

    gap:   rater minus judge: what the rater's network sees of the style and the judge's does not
    named: the share of images to which the judge gives the wanted style log-odds above 0
    """
    mean = {name: sum(values) / len(values) for name, values in scores.items()}
    return {
        "log_odds": mean["judge"],
        "gap": mean["rater"] - mean["judge"],
        "named": sum(value > 0 for value in scores["judge"]) / len(scores["judge"]),
        "faithfulness": mean["faithfulness"],
        "scores": scores,
    }


@cache
def faithfulness_judge() -> FaithfulnessJudge:
    """Return the bundled judge of things, loaded once."""
    return FaithfulnessJudge(build.BUNDLED / "judge")


def ground_seeds(order: Order, default: int) -> range:
    """Return the seeds of an order on a ground: from 40 on, or from `first_seed` on."""
    first = order.first_seed if order.first_seed is not None else FIRST_SEED
    return range(first, first + order.seeds_or(default))


def cells_by_seed(order: Order, default: int, of_seed: Callable[[int], Iterable[GridCell]]) -> list[GridCell]:
    """Return the cells of an order, seed by seed: the reference marks of a seed, then its others."""
    return [cell for seed in ground_seeds(order, default) for cell in (*mark_cells(order.ground, seed), *of_seed(seed))]
