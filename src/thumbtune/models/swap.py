"""Exchange the weights of a network for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def swapped(weights: dict[str, nn.Parameter], others: dict[str, Tensor]) -> Iterator[None]:
    """Put other weights in the place of a network's own, inside the `with` block: the network is then the reference.

    Nothing is copied, so the network's own weights come back bit for bit.
    """
    originals = {name: weight.data for name, weight in weights.items()}
    try:
        for name, weight in weights.items():
            weight.data = others[name]
        yield
    finally:
        for name, weight in weights.items():
            weight.data = originals[name]
