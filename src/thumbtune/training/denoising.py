"""The denoising error of an image at one noise and time; all other numbers are computed from it."""

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from thumbtune.models.protocol import Model
from thumbtune.training.batches import Batch


def error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return each image's mean squared denoising error, in float32; inside `model.reference()`, the reference's."""
    noisy = model.process.noised(batch.latents, batch.noise, batch.t)
    target = model.process.target(batch.latents, batch.noise, batch.t)
    with accelerator.autocast():
        output = model.predict(noisy, batch.t, batch.condition)
    return (output.float() - target.float()).pow(2).flatten(1).mean(1)


def reference_error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return the error of the frozen reference, without gradients."""
    with torch.no_grad(), model.reference():
        return error(model, batch, accelerator)
