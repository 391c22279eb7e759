"""Log-ratios: how much better than the reference the policy denoises an image, in two units.

    absolute   reference_error - policy_error                            Diffusion-KTO, arXiv 2404.04465, and DPO's
    relative   (reference_error - policy_error) / reference_error        the share of the reference's error that is gone

Errors of one model differ by noise level: those of the bundled model 25-fold. So an absolute gain weighs noise levels
by their errors, and beta decides which of them saturate. A relative gain weighs them alike: any factor of both errors
cancels, be it of the noise level, the image, a timestep weighting, or what the network predicts (noise, v, velocity).

The unit of a log-ratio is that of a perfect policy, whose error is 0: the reference's error, or 1.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

LogRatio = Callable[[Float[Tensor, "b"], Float[Tensor, "b"]], Float[Tensor, "b"]]
SMALLEST = 1e-12  # of an error that divides: a reference without any error must not give NaN


def absolute(reference_error: Float[Tensor, "b"], policy_error: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Return the difference of the errors."""
    return reference_error - policy_error


def relative(reference_error: Float[Tensor, "b"], policy_error: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Return the difference of the errors in units of the reference's.

    >>> relative(torch.tensor([0.5, 0.005]), torch.tensor([0.4, 0.004]))
    tensor([0.2000, 0.2000])
    """
    return (reference_error - policy_error) / reference_error.clamp(min=SMALLEST)


def unit_of(log_ratio: LogRatio, reference_error: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Return the log-ratio of a policy without error: the reference's error, or 1 for relative ones."""
    return log_ratio(reference_error, torch.zeros_like(reference_error))


LOG_RATIOS: dict[str, LogRatio] = {"absolute": absolute, "relative": relative}
