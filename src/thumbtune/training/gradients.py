"""The gradient of a step: summed over all processes, and scaled down to a largest norm.

    g = sum over processes of their g        |g| > c:  g <- g c / |g|

Of a network that is divided among processes, each has its rows of g, which were summed in the backward pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from thumbtune.models.shards import is_sharded, whole


def add_up(accelerator: Any, parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients over all processes; a process without a finite image adds zeros.

    Weights that no image reached in any process get no gradient, as in one process: the optimiser leaves them alone.
    """
    if accelerator.num_processes == 1:
        return
    parameters = [one for one in parameters if not is_sharded(one)]
    reached = torch.tensor([float(one.grad is not None) for one in parameters], device=accelerator.device)
    counts: Any = accelerator.reduce(reached, "sum")
    for parameter, count in zip(parameters, counts.tolist(), strict=True):
        if not count:
            continue
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = accelerator.reduce(own, "sum")  # type: ignore[assignment, arg-type]


def clip(accelerator: Any, parameters: Sequence[nn.Parameter], largest: float) -> float:
    """Scale the gradient down to a largest norm, and return the norm that it had; 0 without a gradient."""
    norm = accelerator.clip_grad_norm_(parameters, largest)
    return 0.0 if norm is None else float(whole(norm))
