"""Half precision: the weights that are stored in it, and what computes with them.

Autocast casts the weights of linear and convolutional layers at every use, and leaves norms in float32. So frozen
weights of these layers that are stored in the type of autocast give the same numbers under it, in half the memory.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

# autocast casts the weights of these layers at every use; a copy that is cast once gives the same numbers
CAST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def store(networks: Iterable[nn.Module], dtype: torch.dtype | None) -> None:
    """Store the frozen weights that autocast would cast in its type; None: leave all as they are.

    Layers that carry a DoRA keep theirs: the lengths of their rows are computed from the weights themselves.
    """
    if dtype is None:
        return
    for network in networks:
        spared = {id(getattr(layer, "base_layer", None)) for layer in network.modules() if _has_dora(layer)}
        for layer in network.modules():
            if isinstance(layer, CAST) and id(layer) not in spared:
                for weight in layer.parameters(recurse=False):
                    if not weight.requires_grad:
                        weight.data = weight.data.to(dtype)


def _has_dora(layer: nn.Module) -> bool:
    chosen = getattr(layer, "use_dora", None)  # by the name of the adapter
    return isinstance(chosen, dict) and any(chosen.values())


def computing(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return the autocast of a device in a type; None: one that does nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
