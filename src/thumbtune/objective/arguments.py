"""Checks of what an objective is built with: the names that recipes use are no values here, and fail at once."""

from collections.abc import Mapping
from typing import Any

BETA_HINT = "try 5000 (the paper's, for latents of SD 1.5)"


def require_positive(beta: Any) -> None:
    """Raise a ValueError, which gives the paper's beta, unless beta is a number above 0."""
    if beta == "auto":
        raise ValueError(
            "beta must be a number, not 'auto', which is a rule of a training: set objective.beta: auto in the recipe "
            'or Config(beta="auto"); AutoBeta is the rule for a loop of your own.'
        )
    require_numbers(beta=beta)
    if not beta > 0:
        raise ValueError(f"beta must be positive, not {beta}; {BETA_HINT}.")


def require_numbers(**values: Any) -> None:
    """Raise a ValueError, which names the first of these arguments that is no number."""
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise ValueError(f"{name} must be a number, not {value!r}; give one, as {name}=1.0.")


def require_function(name: str, value: Any, known: Mapping[str, Any], table: str) -> None:
    """Raise a ValueError unless an argument is a function; for a name of a recipe it says where its function is."""
    if callable(value):
        return
    if isinstance(value, str) and value in known:
        raise ValueError(f"{name} must be a function, not its name; give {table}[{value!r}].")
    raise ValueError(f"{name} must be a function, not {value!r}; {table} has {', '.join(known)}.")
