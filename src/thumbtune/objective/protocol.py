"""The protocol of an objective, and its optional members.

    required   needs                the labels that it learns from
               __call__(judged)     one loss per image
    optional   the fields of `Traits`, with defaults for an objective without them

Objectives are frozen dataclasses. To write your own, see docs/own-objective.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from thumbtune.objective.kto import Judged
from thumbtune.objective.log_ratio import LogRatio, absolute
from thumbtune.objective.utility import Utility

REFERENCE_ERROR, MOVED = "reference_error", "moved"  # the fields of `Judged` that an objective may read


@runtime_checkable
class Objective(Protocol):
    """Anything that turns a judged batch into one loss per image."""

    @property
    def needs(self) -> frozenset[str]:
        """Return the labels that a training set must contain: a subset of {"liked", "disliked", "pairs"}."""
        ...

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]: ...


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The optional members of an objective.

    beta:    strength that keeps the policy near the reference; None: the objective has no implicit reward
    gain:    the gain of each image; None: sign * beta * (log_ratio - reference_point)
    log_ratio: the log-ratio of the gains, from the two errors, reference's first; the reference point and beta auto get
             the same one
    anchor:  strength of the added denoising loss of liked images
    utility: the utility of gains
    contrasts: whether likes are set against dislikes, so that a held-out like should gain more than a held-out dislike;
             None: if there is a beta, and dislikes are needed
    prompt_prefixes: the words that training puts before the prompts of good and of bad images
    reads:   the fields of `Judged` that come from the reference and that the loss is made of: reference_error, also
             through log_ratio, and moved. Without any, the reference denoises no batch
    """

    beta: float | None = None
    gain: Callable[[Judged], Float[Tensor, "b"]] | None = None
    log_ratio: LogRatio = absolute
    anchor: float = 0.0
    utility: Utility | None = None
    contrasts: bool | None = None
    prompt_prefixes: tuple[str, str] | None = None
    reads: frozenset[str] = frozenset({REFERENCE_ERROR})


def traits_of(objective: Objective) -> Traits:
    """Return the optional members of an objective, with defaults for those that it lacks."""
    names = [field.name for field in fields(Traits) if hasattr(objective, field.name)]
    return Traits(**{name: getattr(objective, name) for name in names})


def reads_moved(objective: Objective) -> bool:
    """Return whether a loss is made of `Judged.moved`, for which the reference's output is kept."""
    return MOVED in traits_of(objective).reads


def reads_reference(objective: Objective) -> bool:
    """Return whether a loss, or the gain of an objective with a beta, is made of what the reference gives."""
    traits = traits_of(objective)
    return bool(traits.reads) or traits.beta is not None
