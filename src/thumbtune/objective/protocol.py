"""What an objective must offer, and what it may offer besides.

    must   needs                the labels that it learns from
           __call__(judged)     one loss per image
    may    the fields of `Traits`, each with the default that holds for an objective without it

Ours are frozen dataclasses. So should be one of your own: docs/own-objective.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from thumbtune.objective.kto import Judged
from thumbtune.objective.utility import Utility


@runtime_checkable
class Objective(Protocol):
    """Anything that turns a judged batch into one loss per image."""

    @property
    def needs(self) -> frozenset[str]:
        """What a training set must hold: a subset of {"liked", "disliked", "pairs"}."""
        ...

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]: ...


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What an objective may offer besides a loss.

    beta:    strength of the pull towards the reference; None: the objective has no implicit reward
    gain:    the gain of each image; None: sign * beta * (log_ratio - reference_point)
    anchor:  strength of the denoising loss of liked images that it adds
    utility: the utility that it applies to gains
    prompt_prefixes: what training puts before the prompts of good and of bad images
    """

    beta: float | None = None
    gain: Callable[[Judged], Float[Tensor, "b"]] | None = None
    anchor: float = 0.0
    utility: Utility | None = None
    prompt_prefixes: tuple[str, str] | None = None


def traits_of(objective: Objective) -> Traits:
    """Return what an objective offers besides a loss, with the defaults for what it does not have."""
    names = [field.name for field in fields(Traits) if hasattr(objective, field.name)]
    return Traits(**{name: getattr(objective, name) for name in names})
