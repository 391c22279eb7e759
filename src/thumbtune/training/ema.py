"""The exponential moving average of the weights, which is saved and validated in place of the last weights.

    ema <- d * ema + (1 - d) * weights        after every update; d = min(decay, (1 + n) / (10 + n)) at update n

The ramp of d is that of TensorFlow's ExponentialMovingAverage. It makes even a short training forget the first weights,
which are those of the reference.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from thumbtune.models.shards import exchanged, is_sharded, local


class EMA:
    """The moving average of some weights; with a decay of 0 there is none."""

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), not {decay}; try 0.99, or 0 for none.")
        self.decay = decay
        self.weights = list(weights)
        self.values = [weight.detach().clone() for weight in weights] if decay else []

    def decay_at(self, update: int) -> float:
        """Return the decay of an update, counted from 1."""
        return min(self.decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def after(self, update: int) -> None:
        """Add the weights after an update; `update` is the number of the step, so skipped steps count too."""
        for value, weight in zip(self.values, self.weights, strict=bool(self.values)):
            local(value).lerp_(local(weight.detach()), 1 - self.decay_at(update))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the average as the network's weights inside the `with` block; without an average, do nothing."""
        if any(map(is_sharded, self.values)):
            with exchanged(self.weights, self.values):
                yield
            return
        originals = [weight.data for weight in self.weights]
        try:
            for weight, value in zip(self.weights, self.values, strict=bool(self.values)):
                weight.data = value
            yield
        finally:
            for weight, original in zip(self.weights, originals, strict=True):
                weight.data = original
