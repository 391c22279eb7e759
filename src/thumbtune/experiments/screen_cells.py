"""The cells of the screen: label, tune and sample in the small vector world, and keep one row for each.

    base    the base model                                            share of the headroom 0
    asked   true samples, given that the person's truth likes them    share of the headroom 1
    any     a method of `screen_methods`, tuned by the product's batches, objectives, rules and trainer

Measures are of samples at the prompts that nobody rated. All models of a seed sample from equal noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from thumbtune.experiments.ground_cells import ASKED, MARKS
from thumbtune.experiments.methods import Method
from thumbtune.experiments.screen_base import EVALUATION, Base, Sizes, base_of, draw, labelled_pool
from thumbtune.experiments.screen_methods import objective_of, recipe_of
from thumbtune.experiments.step_clock import StepClock
from thumbtune.experiments.training_grid import DIVERGED_STATUS
from thumbtune.experiments.vector_model import VectorModel
from thumbtune.experiments.vector_world import Measures, liked_true_samples, measures, rated
from thumbtune.objective.protocol import Objective, traits_of
from thumbtune.runs import build, objectives
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.setup import batches_from
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.progress import Progress, quiet
from thumbtune.training.sampling import seeded_generator
from thumbtune.training.trainer import Training, TrainingBroke, train

DIGITS = 5  # of a stored measure


@dataclass(frozen=True, kw_only=True)
class ScreenCell:
    """A mark, which has no method, or a method on a seed."""

    name: str
    seed: int
    method: Method | None = None


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The folder of a screen, its sizes, and a cache of encoded samples, which is worth nothing afterwards."""

    folder: Path
    cache: Cache
    sizes: Sizes = field(default_factory=Sizes)
    is_quick: bool = False
    progress: Progress = quiet
    pools: dict[int, Any] = field(default_factory=dict)

    @cached_property
    def base(self) -> Base:
        """The base, read or trained when it is first needed."""
        return base_of(self.folder, self.sizes, self.progress)

    def pool(self, seed: int) -> Any:
        """Return the labelled pool that the trainings of a seed share."""
        if seed not in self.pools:
            self.pools[seed] = labelled_pool(self.base, seed, self.sizes)
        return self.pools[seed]

    def recipe_of(self, cell: ScreenCell) -> Recipe | None:
        """Return the recipe of a cell; None for a mark."""
        return None if cell.method is None else recipe_of(cell.method, cell.seed, self.is_quick)


def cells_of(methods: Mapping[str, Method], seeds: Sequence[int]) -> list[ScreenCell]:
    """Return the marks and methods of each seed, seed by seed."""
    return [ScreenCell(name=name, seed=seed, method=methods.get(name)) for seed in seeds for name in (*MARKS, *methods)]


def row_of(screen: Screen, cell: ScreenCell) -> dict[str, Any]:
    """Tune as the cell asks, sample, and return its row: counts, beta, CPU seconds and measures."""
    prompts = rated(False)[torch.arange(screen.sizes.samples) % len(rated(False))]
    if cell.name == ASKED:
        samples = liked_true_samples(prompts, seeded_generator("asked", cell.seed))
        return {"status": "trained"} | _stored(measures(samples, prompts))
    row: dict[str, Any] = {"status": "trained"}
    model, prefix = VectorModel(screen.base.weights), None
    recipe = screen.recipe_of(cell)
    if recipe is not None:
        objective = objective_of(recipe, screen.base.error)
        row, prefix = tuned(screen, model, recipe, objective), objectives.good_prefix_of(objective)
    if row["status"] != "trained":
        return row
    samples = draw(model, prompts, EVALUATION, ("samples", cell.seed), prefix)
    row |= {} if recipe is not None else {"errors": [round(error, DIGITS) for error in screen.base.errors]}
    return row | _stored(measures(samples, prompts))


def _stored(found: Measures) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in asdict(found).items()}


def tuned(screen: Screen, model: VectorModel, recipe: Recipe, objective: Objective) -> dict[str, Any]:
    """Tune the model on a seed's labels; return the row's counts, beta and CPU seconds, or how it diverged."""
    batches = batches_of(screen, model, recipe, objective)
    liked, accelerator = batches.encoded.liked, Accelerator(cpu=True)
    point, beta = objectives.reference_point_of(recipe), objectives.beta_of(recipe, objective)
    training = Training(model.on(accelerator.device), point, build.settings_of(recipe), accelerator, beta)
    row: dict[str, Any] = {"status": "trained", "likes": int(liked.sum()), "dislikes": int((~liked).sum())}
    clock = StepClock()
    try:
        for _ in clock.timed(train(training, batches, objective)):
            pass
    except TrainingBroke as error:
        return row | {"status": f"{DIVERGED_STATUS}: {error}"}
    used = traits_of(objective).beta if recipe.objective.beta != "auto" else beta.state().get("value")
    return row | {"beta": used, "train_seconds": None if clock.total is None else round(clock.total, 3)}


def batches_of(screen: Screen, model: VectorModel, recipe: Recipe, objective: Objective) -> Batches:
    """Return the batches of a recipe on a seed's labels, as any training makes them."""
    encoded = Encoded(screen.pool(recipe.seed), model, screen.cache, objectives.prefixes_of(objective))
    return batches_from(encoded.fill(), model.process, recipe, objective)
