"""The number that all others are made of: how well a network denoises an image, at one noise and time."""

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from thumbtune.models.protocol import Model
from thumbtune.training.batches import Batch


def error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return the mean squared denoising error of each image, in float32; inside `reference()` that of the reference."""
    noisy = model.process.noised(batch.latents, batch.noise, batch.t)
    target = model.process.target(batch.latents, batch.noise, batch.t)
    with accelerator.autocast():
        output = model.predict(noisy, batch.t, batch.condition)
    return (output.float() - target.float()).pow(2).flatten(1).mean(1)


def reference_error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return `error` by the frozen reference, without gradients."""
    with torch.no_grad(), model.reference():
        return error(model, batch, accelerator)
