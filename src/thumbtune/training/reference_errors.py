"""Errors of the reference, each computed once: with N noise draws an image, they repeat, and the reference is frozen.

    draw      an image, its noise, its time and its condition, by one number (`Batch.draw`)
    error     of the reference for this draw; it changes only when the reference does, so when it is synced

An image that is seen for the first time with a draw is denoised by the reference, and its error is kept. After a few
visits to each draw a step costs what plain fine-tuning costs.
"""

import math

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor

from thumbtune.models.protocol import Model
from thumbtune.training.batch import Batch
from thumbtune.training.denoising import Reference, reference_error, reference_of


class ReferenceErrors:
    """The known errors of one training's reference, by draw."""

    def __init__(self) -> None:
        self._known: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, model: Model, batch: Batch, accelerator: Accelerator, keep_output: bool = False) -> Reference:
        """Return what the reference gives for a batch; of errors whose draw is known, nothing is computed.

        An error that is not finite is computed each time. So is the output, if it is asked for.
        """
        if batch.draw is None or keep_output:
            return reference_of(model, batch, accelerator, keep_output)
        draws: list[int] = batch.draw.tolist()
        errors = torch.tensor([self._known.get(draw, math.nan) for draw in draws], device=batch.liked.device)
        new = errors.isnan()
        if new.any():
            errors[new] = reference_error(model, batch.only(new), accelerator)
            self._known |= {
                draw: error for draw, error in zip(draws, errors.tolist(), strict=True) if math.isfinite(error)
            }
        return Reference(errors)

    def forget(self) -> None:
        """Forget all errors: the reference is another one now."""
        self._known.clear()

    def state(self) -> dict[str, Int[Tensor, "n"] | Float[Tensor, "n"]]:
        """Return the known errors as tensors; empty without any."""
        if not self._known:
            return {}
        return {
            "draw": torch.tensor(list(self._known), dtype=torch.int64),
            "error": torch.tensor(list(self._known.values()), dtype=torch.float32),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self._known = dict(zip(state["draw"].tolist(), state["error"].tolist(), strict=True)) if state else {}
