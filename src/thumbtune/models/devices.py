"""Which device a network is on, and moving networks between an accelerator and the CPU."""

from collections.abc import Iterable

import torch
from torch import nn


def bring(device: torch.device, networks: Iterable[nn.Module], away: Iterable[nn.Module] = ()) -> None:
    """Move networks to a device, after others have left it for the CPU; none is moved to where it is."""
    cpu = torch.device("cpu")
    for wanted, group in ((cpu, away), (device, networks)):
        for network in group:
            if device_of(network) != wanted:
                network.to(wanted)


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next(network.parameters()).device
