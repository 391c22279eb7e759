"""The gain of an image, and how much the image still teaches.

    gain              the argument of the utility: `objective.gain`, else sign * beta * (log_ratio - reference_point)
    gradient weight   |d loss / d policy_error|, divided by its value at log-ratios and a reference point of 0

An image without gain or loss has a gradient weight of 1. With a sigmoid the weight falls on both sides, with a
one-sided utility on one side only. So saturation is measured by the gradient weight and not by the gain. The anchor is
left out: its gradient on liked images never falls, and would hide that their labels teach nothing any more.
"""

from dataclasses import is_dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune.objective.kto import Judged
from thumbtune.objective.log_ratio import relative
from thumbtune.objective.protocol import Objective, traits_of
from thumbtune.objective.validation import loss_of

FLAT_GRADIENT_WEIGHT = 0.0707  # sigmoid'(4) / sigmoid'(0): an image with less teaches almost nothing


@torch.no_grad()
def gain_of(objective: Objective, judged: Judged) -> Float[Tensor, "b"] | None:
    """Return the gain of every image; None for an objective without a beta."""
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
    """Return the gradient weight of every image.

    It is 1 for an image without a gradient, such as a dislike for SFT, and where a slope is NaN or infinite.
    """
    # with a relative log-ratio the reference's error is a factor of the slope, and so must be the same
    is_relative = traits_of(objective).log_ratio is relative
    objective = _without_anchor(objective)
    if not len(judged.liked):
        return torch.zeros_like(judged.reference_error)
    # both are set to 0: with a high beta, the rounding of their difference may be a large gain
    if judged.moved is not None:  # the weight is of the error alone
        judged = replace(judged, moved=judged.moved.detach())
    error_at_rest = (judged.reference_error if is_relative else judged.policy_error).detach()
    at_rest = replace(
        judged,
        policy_error=error_at_rest,
        reference_error=error_at_rest,
        reference_point=torch.zeros_like(judged.reference_point),
        moved=None if judged.moved is None else torch.zeros_like(judged.moved),
    )
    slope_at_rest = _slope(objective, at_rest, error_at_rest)
    slope = _slope(objective, judged, judged.policy_error)
    is_defined = (slope_at_rest > 0) & slope_at_rest.isfinite() & slope.isfinite()
    tiny = torch.finfo(slope.dtype).tiny
    return torch.where(is_defined, slope / slope_at_rest.clamp(min=tiny), torch.ones_like(slope))
