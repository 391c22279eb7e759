"""Utility functions U(gain) of Diffusion-KTO: how much a gain is worth to a person.

    Kahneman-Tversky   U(x) = sigmoid(x)          concave in gains, convex in losses: flat at both ends
    loss-averse        U(x) = log sigmoid(x)      concave: flat only for large gains
    risk-seeking       U(x) = -log sigmoid(-x)    convex: flat only for large losses

Source: Li et al., "Aligning Diffusion Models by Optimizing Human Utility", arXiv 2404.04465, section 4.2 and D.4.
All are increasing, keep the shape of their input, and stay finite for large gains.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Utility = Callable[[Float[Tensor, "*shape"]], Float[Tensor, "*shape"]]


def kahneman_tversky(gain: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return sigmoid(gain), in 0..1; the paper's best, and its default."""
    return torch.sigmoid(gain)


def loss_averse(gain: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log sigmoid(gain), below 0; Diffusion-DPO uses it for pairs."""
    return F.logsigmoid(gain)


def risk_seeking(gain: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return -log sigmoid(-gain), above 0."""
    return -F.logsigmoid(-gain)


UTILITIES: dict[str, Utility] = {
    "kahneman-tversky": kahneman_tversky,
    "loss-averse": loss_averse,
    "risk-seeking": risk_seeking,
}
