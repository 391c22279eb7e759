"""How far an image has gone for its objective, and how much it still teaches.

    gain   the argument of the utility: `objective.gain`, else sign * beta * (log_ratio - reference_point)
    pull   |d loss / d policy_error|, over what it is where every log-ratio and the reference point are 0

A pull of 1 is that of an image without gain or loss. With a sigmoid it fades on both sides; with a one-sided utility on
one side only, which is why saturation is told by the pull and not by the gain. An anchor is left out: it pulls on liked
images for ever, and would hide that their thumbs have nothing left to teach.
"""

from dataclasses import is_dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune.objective.kto import Judged
from thumbtune.objective.protocol import Objective, traits_of
from thumbtune.objective.validation import loss_of

FLAT_GRADIENT_WEIGHT = 0.0707  # sigmoid'(4) / sigmoid'(0): an image that pulls less teaches hardly anything


@torch.no_grad()
def gain_of(objective: Objective, judged: Judged) -> Float[Tensor, "b"] | None:
    """The gain of every image; None for an objective without a beta, which knows no gain."""
    traits = traits_of(objective)
    if traits.beta is None:
        return None
    if traits.gain is not None:
        return traits.gain(judged)
    return judged.sign * traits.beta * (judged.log_ratio - judged.reference_point)


def _slope(objective: Objective, judged: Judged, policy_error: Tensor) -> Tensor:
    leaf = policy_error.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(objective, replace(judged, policy_error=leaf)).sum(), leaf)
    return slope.abs()


def _without_anchor(objective: Objective) -> Objective:
    anchored = is_dataclass(objective) and bool(traits_of(objective).anchor)
    return replace(objective, anchor=0.0) if anchored else objective  # type: ignore[type-var]


@torch.enable_grad()
def gradient_weight(objective: Objective, judged: Judged) -> Float[Tensor, "b"]:
    """The pull of every image; 1 for one that never pulls, such as a dislike where only likes are learnt.

    And 1 where a slope is no number: it tells nothing of an image, whose loss may be sound.
    """
    objective = _without_anchor(objective)
    if not len(judged.liked):
        return torch.zeros_like(judged.reference_error)
    # no log-ratio and no reference point: their difference, rounded, may be far from 0 for a high beta
    at_rest = replace(
        judged, reference_error=judged.policy_error.detach(), reference_point=torch.zeros_like(judged.reference_point)
    )
    still = _slope(objective, at_rest, judged.policy_error)
    now = _slope(objective, judged, judged.policy_error)
    known = (still > 0) & still.isfinite() & now.isfinite()
    return torch.where(known, now / still.clamp(min=torch.finfo(still.dtype).tiny), torch.ones_like(now))
