"""How often noise levels are drawn, as quantiles: uniform numbers in 0..1 in, sigmas with that density out.

    logit-normal   sigma = sigmoid(mean + std * quantile of the normal)                     arXiv 2403.03206, eq. 19
    mode           sigma = u - scale * (sin(pi u / 2)^2 - u)                                the same, eq. 20

Both rise with u, so `u ** (1 / bias)` before them prefers high noise for a bias above 1. diffusers'
`compute_density_for_timestep_sampling` draws from the same densities, by test: it writes mode with 1 - u for u.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

MODE_SCALE = 1.29  # the default of diffusers and sd-scripts
MODE_SCALES = (-1.0, 2 / (math.pi - 2))  # outside of these, mode leaves 0..1: arXiv 2403.03206, below eq. 20


def logit_normal(uniform: Float[Tensor, "b"], mean: float = 0.0, std: float = 1.0) -> Float[Tensor, "b"]:
    """Return the quantiles of a logit-normal density; a mean above 0 is more noise."""
    normal = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
    return torch.sigmoid(normal if (mean, std) == (0.0, 1.0) else mean + std * normal)


def mode(uniform: Float[Tensor, "b"], scale: float = MODE_SCALE) -> Float[Tensor, "b"]:
    """Return the quantiles of the mode density: a scale above 0 prefers the middle, one below 0 the ends."""
    return uniform - scale * (torch.sin(math.pi * uniform / 2) ** 2 - uniform)
