"""The measurements of each image in a training step: named columns, gathered over processes as one tensor."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measurements of a batch, one per image in every tensor.

    sign:            +1 for a liked image, -1 for a disliked one
    reference_point: the reference point of the image's gain
    distance:        |gain|; 0 where the objective has no gain
    gradient_weight: the image's gradient, divided by that at a gain of 0 (saturation.py)
    """

    loss: Float[Tensor, "n"]
    policy_error: Float[Tensor, "n"]
    reference_error: Float[Tensor, "n"]
    sign: Float[Tensor, "n"]
    reference_point: Float[Tensor, "n"]
    distance: Float[Tensor, "n"]
    gradient_weight: Float[Tensor, "n"]

    @property
    def log_ratio(self) -> Float[Tensor, "n"]:
        """Return how much better than the reference the policy denoises each image."""
        return self.reference_error - self.policy_error

    @property
    def liked(self) -> Tensor:
        """Return whether each image is liked."""
        return self.sign > 0

    def __len__(self) -> int:
        return len(self.loss)

    def stacked(self) -> Float[Tensor, "n columns"]:
        """Return one tensor with a column for each field, in order."""
        return torch.stack([getattr(self, field.name) for field in fields(self)], 1)

    @classmethod
    def of(cls, table: Float[Tensor, "n columns"]) -> "Measurements":
        """Return the measurements in a tensor that `stacked` returned."""
        return cls(**dict(zip([field.name for field in fields(cls)], table.unbind(1), strict=True)))
