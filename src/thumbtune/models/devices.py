"""Which device a network is on, and moving networks between an accelerator and the CPU."""

from collections.abc import Iterable

import torch
from torch import nn

from thumbtune.models.shards import bytes_here


def bring(device: torch.device, networks: Iterable[nn.Module], away: Iterable[nn.Module] = ()) -> None:
    """Move networks to a device, after others have left it for the CPU; none is moved to where it is."""
    cpu = torch.device("cpu")
    for wanted, group in ((cpu, away), (device, networks)):
        for network in group:
            if device_of(network) != wanted:
                network.to(wanted)


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights, but for those of layers that stay where they are."""
    moving = (weight for module in network.modules() if not stays(module) for weight in module.parameters(False))
    return next(moving).device


def keep_in_place(layer: nn.Module) -> None:
    """Let a layer stay where it is when its network is moved; its weights keep their type too."""
    layer._apply = lambda fn, recurse=True: layer  # by which a network moves its layers


def stays(layer: nn.Module) -> bool:
    """Return whether `keep_in_place` was asked for a layer."""
    return "_apply" in vars(layer)


def bytes_that_move(network: nn.Module) -> int:
    """Return the bytes of the weights and buffers that a network takes along to a device."""
    layers = [module for module in network.modules() if not stays(module)]
    return bytes_here([v for one in layers for v in (*one.parameters(False), *one.buffers(False))])
