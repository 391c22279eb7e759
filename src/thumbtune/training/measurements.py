"""The measurements of each image in a training step: named columns, gathered over processes as one tensor."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune.objective.kto import Judged
from thumbtune.objective.protocol import Objective
from thumbtune.objective.saturation import FLAT_GRADIENT_WEIGHT, gain_of, gradient_weight
from thumbtune.training.step import Step


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measurements of a batch, one per image in every tensor.

    reference_error: 0 where nothing reads the reference, so that it was not asked
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


def measured(objective: Objective, judged: Judged, loss: Float[Tensor, "b"]) -> Measurements:
    """Return the measurements of judged images and their losses."""
    gain = gain_of(objective, judged)
    return Measurements(
        loss=loss,
        policy_error=judged.policy_error.detach(),
        reference_error=judged.reference_error.nan_to_num(),
        sign=judged.sign,
        reference_point=judged.reference_point.expand(len(loss)),
        distance=torch.zeros_like(loss) if gain is None else gain.abs(),
        gradient_weight=gradient_weight(objective, judged),
    )


def step_of(images: Measurements, beta: float | None, *, has_reference: bool, step: int, lr: float) -> Step:
    """Return the Step of the measurements of its finite images, without what the update of the weights adds.

    beta:          of the objective; None: it has no gains
    has_reference: whether the reference's errors were measured
    """
    has_gains = beta is not None and len(images) > 0
    log_ratio = images.log_ratio if has_reference else images.log_ratio[:0]
    sign = images.sign[: len(log_ratio)]
    return Step(
        step=step,
        loss=_mean(images.loss),
        liked_log_ratio=_mean(log_ratio[sign > 0]),
        disliked_log_ratio=_mean(log_ratio[sign < 0]),
        reference_point=_mean(images.reference_point) if has_reference else None,
        policy_error=_mean(images.policy_error),
        reference_error=_mean(images.reference_error) if has_reference else None,
        beta=beta,
        gain=float(images.distance.median()) if has_gains else None,
        saturation=_mean((images.gradient_weight < FLAT_GRADIENT_WEIGHT).double()) if has_gains else None,
        grad_norm=None,
        lr=lr,
        skipped=0,
        seconds=0.0,
    )


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
