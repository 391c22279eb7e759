"""An objective that a program holds: options of a recipe where these make an equal one, or else the object itself."""

from dataclasses import fields, is_dataclass
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.objective.baselines import BCO, CSFT, DPO, SFT
from thumbtune.objective.kto import KTO
from thumbtune.objective.log_ratio import LOG_RATIOS
from thumbtune.objective.nft import NFT
from thumbtune.objective.protocol import Objective
from thumbtune.objective.utility import UTILITIES
from thumbtune.objective.validation import try_objective
from thumbtune.plugins import OF_PROGRAM
from thumbtune.runs.objectives import objective_of
from thumbtune.runs.recipe import parse_recipe

NAMES = {KTO: "kto", BCO: "bco", DPO: "dpo", NFT: "nft", SFT: "sft", CSFT: "csft"}
OPTIONS = ("beta", "utility", "log_ratio", "liked_weight", "disliked_weight", "anchor", "mix")


def options_of(objective: Any) -> tuple[dict[str, Any], Objective | None]:
    """Return the options of a recipe for an objective, and the object itself if options do not make an equal one.

    A beta that the object has is a number of the recipe, so it stays as it is.

    Raises:
        UsageError: it is no objective, or fails on a few labels.
    """
    name = f"{OF_PROGRAM}{type(objective).__name__}"
    if isinstance(objective, type) or not is_dataclass(objective) or not isinstance(objective, Objective):
        what = f"the class {objective.__name__}" if isinstance(objective, type) else type(objective).__name__
        raise UsageError(
            f"An objective is an object of a frozen dataclass with `needs` and `__call__`, not {what}; see "
            "docs/own-objective.md.",
            code="objective-incomplete",
        )
    ours = NAMES.get(type(objective))
    values = {field.name: getattr(objective, field.name) for field in fields(objective) if field.name in OPTIONS}
    words = {option: _word(value) for option, value in values.items()}
    if ours is not None and None not in words.values():
        told = {"objective.name": ours, **{f"objective.{option}": word for option, word in words.items()}}
        if objective_of(parse_recipe(told, name)) == objective:
            return told, None
    try_objective(objective, name)
    numbers = {"beta": values["beta"]} if isinstance(values.get("beta"), int | float) else {}
    return {"objective.name": name, **{f"objective.{option}": value for option, value in numbers.items()}}, objective


def _word(value: Any) -> Any:
    """Return a value as a recipe writes it: numbers as they are, functions by their names; None for one without."""
    if isinstance(value, int | float):
        return float(value)
    known = {**UTILITIES, **LOG_RATIOS}
    return next((name for name, function in known.items() if function is value), None)
