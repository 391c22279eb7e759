"""What a gain is worth to a person: utility functions U(gain) of Diffusion-KTO.

    Kahneman-Tversky   U(x) = sigmoid(x)          concave in gains, convex in losses: fades at both ends
    loss-averse        U(x) = log sigmoid(x)      concave: fades only where the reward is already high
    risk-seeking       U(x) = -log sigmoid(-x)    convex: fades only where the reward is still low

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
    """sigmoid(gain), in 0..1; the paper's best, and its default."""
    return torch.sigmoid(gain)


def loss_averse(gain: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log sigmoid(gain), below 0; what Diffusion-DPO uses for pairs."""
    return F.logsigmoid(gain)


def risk_seeking(gain: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """-log sigmoid(-gain), above 0."""
    return -F.logsigmoid(-gain)


UTILITIES: dict[str, Utility] = {
    "kahneman-tversky": kahneman_tversky,
    "loss-averse": loss_averse,
    "risk-seeking": risk_seeking,
}
