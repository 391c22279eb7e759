"""The denoising error of an image at one noise and time; all other numbers are computed from it.

error = weight(t) * mean (output - target)^2          the weight is 1 unless `train.timestep_weighting` chooses another
"""

import torch
from accelerate import Accelerator
from jaxtyping import Float
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
