"""The methods of the screen: the settings of methods on a ground as they stand, at its own budget and scale of beta.

beta of the screen = beta of the settings * mean error of the bundled model / mean error of this world's base

A gain is beta times a difference of errors, so equal betas would mean unequal gains where errors are larger. `auto` and
relative log-ratios measure errors themselves, and need no translation.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_cells import tuned
from thumbtune.experiments.grounds import PLAIN
from thumbtune.experiments.levels import TAKEN
from thumbtune.experiments.methods import AUTO, LEAD, METHODS, PAPER, Method
from thumbtune.experiments.search_on_ground import SETTINGS
from thumbtune.objective.log_ratio import absolute
from thumbtune.objective.protocol import Objective, traits_of
from thumbtune.runs import objectives
from thumbtune.runs.recipe import Recipe, read_recipe

# mean errors of the bundled model in each eighth of the noise, from the lowest: 48 images of its own at bare prompts of
# the rated concepts (10 steps, guidance 1.5), at 40 noise levels
BUNDLED_ERRORS = (0.08367, 0.01611, 0.00722, 0.00400, 0.00229, 0.00179, 0.00208, 0.00218)
BUNDLED_ERROR = sum(BUNDLED_ERRORS) / len(BUNDLED_ERRORS)
BUDGET = (
    *("train.steps=200", "train.batch=32", "train.micro_batch=32", "train.lr=1e-3", "train.warmup=10"),
    *("train.cooldown=20", "train.prompt_dropout=0.1", "train.timestep_bias=1", "train.weights=full"),
    *("train.validation_share=0", "train.guards=false", "train.validate_every=0"),
    *PLAIN,
)
QUICK = ("train.steps=4", "train.warmup=1", "train.cooldown=1")
KTO_60 = "kto-60"
BY_DEFAULT = (
    *(PAPER, KTO_60, "neither", AUTO, "sft", "csft", "dpo", "bco"),
    *(LEAD, "bias-alone", "dislikes-alone", "lead-dislikes-above-half", "lead-dislikes-below-half"),
    *(f"{name}-bias-{bias}-share-0.5" for name in ("relative-10", "nft-0.5") for bias in (1, 3)),
)
# labels in rounds, by pairs or by stars, and rewards are no settings: the screen does not have them
KNOWN: Mapping[str, Method] = {
    name: method
    for name, method in {**SETTINGS, **TAKEN, **METHODS}.items()
    if name in TAKEN or (method.measure is tuned and method.rule == Method.rule)
}


def methods_of(order: Order) -> dict[str, Method]:
    """Return the chosen methods; without `only`, those of `BY_DEFAULT`.

    Raises:
        UsageError: `only` has a name that is no method of the screen; the sentence lists all.
    """
    names = order.chosen(KNOWN) if order.only else BY_DEFAULT
    return {name: KNOWN[name] for name in names}


def recipe_of(method: Method, seed: int, is_quick: bool = False) -> Recipe:
    """Return the recipe of a method on a seed: the screen's budget, then the method's settings as they stand."""
    return read_recipe(None, [*BUDGET, *method.settings, *(QUICK if is_quick else ()), f"seed={seed}"])


def objective_of(recipe: Recipe, error: float) -> Objective:
    """Return the objective of a recipe, with its beta in units of the mean error of this world's base."""
    objective: Any = objectives.objective_of(recipe)
    traits = traits_of(objective)
    if recipe.objective.beta == "auto" or traits.beta is None or traits.log_ratio is not absolute:
        return objective
    return replace(objective, beta=traits.beta * BUNDLED_ERROR / error)
