"""The denoising error of an image at one noise and time; all other numbers are computed from it.

error = weight(t) * mean (output - target)^2          the weight is 1 unless `train.timestep_weighting` chooses another
"""

from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor

from thumbtune.models.protocol import Model
from thumbtune.training.batches import Batch


def error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return each image's weighted squared denoising error, in float32; inside `model.reference()`, the reference's.

    Images of several shapes go through the network shape by shape.
    """
    parts = list(batch.of_each_shape())
    if len(parts) == 1:
        return _error(model, batch, accelerator)
    errors = torch.cat([_error(model, part, accelerator) for _, part in parts])
    return errors[torch.tensor([row for rows, _ in parts for row in rows], device=errors.device).argsort()]


def _error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    assert isinstance(batch.latents, Tensor) and isinstance(batch.noise, Tensor)
    noisy = model.process.noised(batch.latents, batch.noise, batch.t)
    target = model.process.target(batch.latents, batch.noise, batch.t)
    with accelerator.autocast():
        output = model.predict(noisy, batch.t, batch.condition)
    squared = (output.float() - target.float()).pow(2).flatten(1).mean(1)
    weights = model.process.weights(batch.t)
    return squared if weights is None else squared * weights.to(squared)


def reference_error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return the error of the frozen reference, without gradients."""
    with torch.no_grad(), model.reference():
        return error(model, batch, accelerator)


@dataclass(frozen=True)
class Reference:
    """What the frozen reference gives for a batch, without gradients.

    error: NaN where nothing reads it, so that the reference was not asked (`is_measured` is then false)
    """

    error: Float[Tensor, "b"]
    is_measured: bool = True

    @property
    def is_sound(self) -> Bool[Tensor, "b"]:
        """Return whether each error is finite; true where none was measured."""
        return self.error.isfinite() | (not self.is_measured)

    def only(self, keep: Bool[Tensor, "b"]) -> "Reference":
        """Return what is given for the rows where `keep` is true."""
        return replace(self, error=self.error[keep])


def reference_of(model: Model, batch: Batch, accelerator: Accelerator) -> Reference:
    """Return what the reference gives for a batch."""
    return Reference(reference_error(model, batch, accelerator))


def without_reference(batch: Batch) -> Reference:
    """Return the errors of a reference that is not asked."""
    return Reference(torch.full((len(batch),), torch.nan, device=batch.liked.device), is_measured=False)
