"""The denoising error of an image at one noise and time; all other numbers are computed from it.

error = weight(t) * mean (output - target)^2          the weight is 1 unless `train.timestep_weighting` chooses another
moved = weight(t) * mean (output - reference's)^2     how far the policy went, for objectives that read it

Images of several shapes go through the network shape by shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor

from thumbtune.models.process import Latents
from thumbtune.models.protocol import Model
from thumbtune.training.batch import Batch, Ragged, stacked


@dataclass(frozen=True)
class Reference:
    """What the frozen reference gives for a batch, without gradients.

    error:  NaN where nothing reads it, so that the reference was not asked (`is_measured` is then false)
    output: kept only for objectives that read `moved`, since it is as large as the latents
    """

    error: Float[Tensor, "b"]
    is_measured: bool = True
    output: Latents | Ragged | None = None

    @property
    def is_sound(self) -> Bool[Tensor, "b"]:
        """Return whether each error is finite; true where none was measured."""
        return self.error.isfinite() | (not self.is_measured)

    def only(self, keep: Bool[Tensor, "b"]) -> "Reference":
        """Return what is given for the rows where `keep` is true."""
        return replace(self, error=self.error[keep], output=None if self.output is None else self.output[keep])


class _Part(NamedTuple):
    """The rows of one shape in a batch, their batch, and the network's output for it in float32."""

    rows: list[int]
    batch: Batch
    output: Latents


def error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return each image's weighted squared denoising error, in float32; inside `model.reference()`, the reference's.

    A batch without images makes no pass.
    """
    parts = _parts(model, batch, accelerator)
    return _in_order(parts, [_error(model, part) for part in parts], batch)


def error_and_moved(
    model: Model, batch: Batch, accelerator: Accelerator, reference: Reference
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"] | None]:
    """Return each image's error, and how far its output has moved; None if the reference's output was not kept."""
    parts = _parts(model, batch, accelerator)
    errors = _in_order(parts, [_error(model, part) for part in parts], batch)
    if reference.output is None:
        return errors, None
    outputs = [_chosen(reference.output, part.rows) for part in parts]
    moved = [_distance(model, part, output) for part, output in zip(parts, outputs, strict=True)]
    return errors, _in_order(parts, moved, batch)


def reference_error(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    """Return the error of the frozen reference, without gradients."""
    with torch.no_grad(), model.reference():
        return error(model, batch, accelerator)


def reference_of(model: Model, batch: Batch, accelerator: Accelerator, keep_output: bool = False) -> Reference:
    """Return what the reference gives for a batch, with its output only if asked."""
    with torch.no_grad(), model.reference():
        parts = _parts(model, batch, accelerator)
        errors = _in_order(parts, [_error(model, part) for part in parts], batch)
    if not keep_output:
        return Reference(errors)
    rows = {row: output for part in parts for row, output in zip(part.rows, part.output, strict=True)}
    return Reference(errors, output=stacked([rows[row] for row in range(len(batch))]))


def without_reference(batch: Batch) -> Reference:
    """Return the errors of a reference that is not asked."""
    return Reference(torch.full((len(batch),), torch.nan, device=batch.liked.device), is_measured=False)


def _parts(model: Model, batch: Batch, accelerator: Accelerator) -> list[_Part]:
    shapes = batch.of_each_shape() if len(batch) else ()
    return [_Part(rows, part, _output(model, part, accelerator)) for rows, part in shapes]


def _output(model: Model, batch: Batch, accelerator: Accelerator) -> Latents:
    assert isinstance(batch.latents, Tensor) and isinstance(batch.noise, Tensor)
    noisy = model.process.noised(batch.latents, batch.noise, batch.t)
    with accelerator.autocast():
        output = model.predict(noisy, batch.t, batch.condition)
    return output.float()


def _error(model: Model, part: _Part) -> Float[Tensor, "b"]:
    batch = part.batch
    assert isinstance(batch.latents, Tensor) and isinstance(batch.noise, Tensor)
    return _distance(model, part, model.process.target(batch.latents, batch.noise, batch.t).float())


def _distance(model: Model, part: _Part, other: Latents) -> Float[Tensor, "b"]:
    """Return the weighted mean squared distance of each output from another one."""
    squared = (part.output - other).pow(2).flatten(1).mean(1)
    weights = model.process.weights(part.batch.t)
    return squared if weights is None else squared * weights.to(squared)


def _in_order(parts: Sequence[_Part], numbers: list[Float[Tensor, "_"]], batch: Batch) -> Float[Tensor, "b"]:
    """Return the numbers of all parts in the order of the rows of the whole batch."""
    if not parts:
        return torch.zeros(0, device=batch.liked.device)
    if len(parts) == 1:
        return numbers[0]
    order = torch.tensor([row for part in parts for row in part.rows], device=numbers[0].device).argsort()
    return torch.cat(numbers)[order]


def _chosen(outputs: Latents | Ragged, rows: list[int]) -> Latents:
    return torch.stack([outputs.rows[row] for row in rows]) if isinstance(outputs, Ragged) else outputs[rows]
