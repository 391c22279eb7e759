"""Other weights in the places of a network's own, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def swapped(weights: dict[str, nn.Parameter], kept: dict[str, Tensor]) -> Iterator[None]:
    """The network with kept weights in place of its own, inside the `with` block: a reference.

    Only the places are exchanged, so nothing is copied and the weights come back as they were, bit for bit.
    """
    own = {name: weight.data for name, weight in weights.items()}
    try:
        for name, weight in weights.items():
            weight.data = kept[name]
        yield
    finally:
        for name, weight in weights.items():
            weight.data = own[name]
