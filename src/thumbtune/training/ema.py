"""The average of the weights along a training: what is saved and judged in place of the last weights.

    average <- d * average + (1 - d) * weights        after every update; d = min(decay, (1 + n) / (10 + n)) at update n

The ramp of d, that of TensorFlow's ExponentialMovingAverage, lets the first weights, which are the reference's, be
forgotten in a short training too.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """An exponential moving average beside the weights that it follows; a decay of 0 keeps none."""

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), not {decay}; try 0.99, or 0 for no average.")
        self.decay = decay
        self.weights = list(weights)
        self.values = [weight.detach().clone() for weight in weights] if decay else []

    def decay_at(self, update: int) -> float:
        """The decay of an update, counted from 1."""
        return min(self.decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def after(self, update: int) -> None:
        """Take in the weights as an update left them; `update` is the step's number, so that skipped ones count too."""
        for value, weight in zip(self.values, self.weights, strict=bool(self.values)):
            value.lerp_(weight.detach(), 1 - self.decay_at(update))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the network's weights are the average; with no average they stay as they are."""
        kept = [weight.data for weight in self.weights]
        try:
            for weight, value in zip(self.weights, self.values, strict=bool(self.values)):
                weight.data = value
            yield
        finally:
            for weight, own in zip(self.weights, kept, strict=True):
                weight.data = own
