"""What a training step measures of each image, as named columns that several processes gather as one tensor."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Numbers of some images, one per image in every tensor.

    sign:            +1 for a liked image, -1 for a disliked one
    reference_point: the one that the image was judged by
    distance:        |gain|; 0 where the objective has no gain
    gradient_weight: what is left of the image's gradient (saturation.py)
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
        """How much better than the reference the policy denoises each image."""
        return self.reference_error - self.policy_error

    @property
    def liked(self) -> Tensor:
        """Whether each image is liked."""
        return self.sign > 0

    def __len__(self) -> int:
        return len(self.loss)

    def stacked(self) -> Float[Tensor, "n columns"]:
        """Return one tensor with a column for each number, in the order of the fields."""
        return torch.stack([getattr(self, field.name) for field in fields(self)], 1)

    @classmethod
    def of(cls, table: Float[Tensor, "n columns"]) -> "Measurements":
        """Return the columns of a tensor that `stacked` made."""
        return cls(**dict(zip([field.name for field in fields(cls)], table.unbind(1), strict=True)))
