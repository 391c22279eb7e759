"""Swap the weights of a network temporarily."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def swapped(weights: dict[str, nn.Parameter], others: dict[str, Tensor]) -> Iterator[None]:
    """Replace a network's weights inside the `with` block, so that the network is the reference.

    Nothing is copied, so the network's own weights return bit for bit.
    """
    originals = {name: weight.data for name, weight in weights.items()}
    try:
        for name, weight in weights.items():
            weight.data = others[name]
        yield
    finally:
        for name, weight in weights.items():
            weight.data = originals[name]
