"""The measurements of each image in a training step: named columns, gathered over processes as one tensor."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from thumbtune.objective.kto import Judged
from thumbtune.objective.protocol import Objective
from thumbtune.objective.saturation import FLAT_GRADIENT_WEIGHT, gain_of, gradient_weight
from thumbtune.training.step import Step

HALF = 0.5  # of the process: the times from which on an image counts as one at high noise


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measurements of a batch, one per image in every tensor.

    reference_error: 0 where nothing reads the reference, so that it was not asked
    sign:            +1 for a liked image, -1 for a disliked one
    reference_point: the reference point of the image's gain
    distance:        |gain|; 0 where the objective has no gain
    gradient_weight: the image's gradient, divided by that at a gain of 0 (saturation.py)
    noise:           where its time lies in the process, from 0 (clean) to 1 (pure noise)
    """

    loss: Float[Tensor, "n"]
    policy_error: Float[Tensor, "n"]
    reference_error: Float[Tensor, "n"]
    sign: Float[Tensor, "n"]
    reference_point: Float[Tensor, "n"]
    distance: Float[Tensor, "n"]
    gradient_weight: Float[Tensor, "n"]
    noise: Float[Tensor, "n"]

    @property
    def log_ratio(self) -> Float[Tensor, "n"]:
        """Return how much better than the reference the policy denoises each image."""
        return self.reference_error - self.policy_error

    @property
    def liked(self) -> Bool[Tensor, "n"]:
        """Return whether each image is liked."""
        return self.sign > 0

    @property
    def is_noisy(self) -> Bool[Tensor, "n"]:
        """Return whether the time of each image lies in the upper half of the noise."""
        return self.noise >= HALF

    def __len__(self) -> int:
        return len(self.loss)

    def stacked(self) -> Float[Tensor, "n columns"]:
        """Return one tensor with a column for each field, in order."""
        return torch.stack([getattr(self, field.name) for field in fields(self)], 1)

    @classmethod
    def of(cls, table: Float[Tensor, "n columns"]) -> "Measurements":
        """Return the measurements in a tensor that `stacked` returned."""
        return cls(**dict(zip([field.name for field in fields(cls)], table.unbind(1), strict=True)))


def measured(objective: Objective, judged: Judged, loss: Float[Tensor, "b"], noise: Float[Tensor, "b"]) -> Measurements:
    """Return the measurements of judged images, with their losses and where their times lie in the process."""
    gain = gain_of(objective, judged)
    return Measurements(
        loss=loss,
        policy_error=judged.policy_error.detach(),
        reference_error=judged.reference_error.nan_to_num(),
        sign=judged.sign,
        reference_point=judged.reference_point.expand(len(loss)),
        distance=torch.zeros_like(loss) if gain is None else gain.abs(),
        gradient_weight=gradient_weight(objective, judged),
        noise=noise.to(loss),
    )


def step_of(images: Measurements, beta: float | None, *, has_reference: bool, step: int, lr: float) -> Step:
    """Return the Step of the measurements of its finite images, without what the update of the weights adds.

    beta:          of the objective; None: it has no gains
    has_reference: whether the reference's errors were measured
    """
    has_gains = beta is not None and len(images) > 0
    liked, is_noisy = images.liked, images.is_noisy

    def log_ratio(which: Bool[Tensor, "n"]) -> float | None:
        return _mean(images.log_ratio[which]) if has_reference else None

    return Step(
        step=step,
        loss=_mean(images.loss),
        liked_log_ratio=log_ratio(liked),
        disliked_log_ratio=log_ratio(~liked),
        liked_log_ratio_high_noise=log_ratio(liked & is_noisy),
        liked_log_ratio_low_noise=log_ratio(liked & ~is_noisy),
        disliked_log_ratio_high_noise=log_ratio(~liked & is_noisy),
        disliked_log_ratio_low_noise=log_ratio(~liked & ~is_noisy),
        liked_high_noise_share=_mean(is_noisy[liked].double()),
        disliked_high_noise_share=_mean(is_noisy[~liked].double()),
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
