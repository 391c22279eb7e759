"""The gradient of a step: of images that still teach, summed over all processes, and scaled down to a largest norm.

    |dloss / derror| < VANISHED: 0           g = sum over processes of their g        |g| > c:  g <- g c / |g|

Of a network that is divided among processes, each has its rows of g, which were summed in the backward pass.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thumbtune.models.shards import is_sharded, whole

# AdamW divides by at least 1e-8, so that a gradient of this size moves a weight by at most 1e-16 learning rates
VANISHED = 1e-24
BUCKET = 2**24  # numbers that are summed at once: 64 MiB of float32, while a LoRA has hundreds of small tensors


def ignore_vanished(errors: Float[Tensor, "b"]) -> None:
    """Let images whose gradient has vanished send back exactly 0.

    An image with a large gain has the weight exp(-gain). Between exp(-87) and exp(-103) the numbers of its whole
    backward pass are denormal, and a CPU needs 6 times as long for the gradient of the batch.
    """
    if errors.requires_grad:
        errors.register_hook(lambda slope: slope.masked_fill(slope.abs() < VANISHED, 0.0))


def add_up(accelerator: Any, parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients over all processes; a process without a finite image adds zeros.

    Weights that no image reached in any process get no gradient, as in one process: the optimiser leaves them alone.
    """
    if accelerator.num_processes == 1:
        return
    parameters = [one for one in parameters if not is_sharded(one)]
    if not parameters:
        return
    reached = torch.tensor([float(one.grad is not None) for one in parameters], device=accelerator.device)
    counts: Any = accelerator.reduce(reached, "sum")
    for bucket in _buckets([one for one, count in zip(parameters, counts.tolist(), strict=True) if count]):
        own = [torch.zeros_like(one) if one.grad is None else one.grad for one in bucket]
        total: Any = accelerator.reduce(torch.cat([one.flatten() for one in own]), "sum")
        for parameter, part in zip(bucket, total.split([one.numel() for one in bucket]), strict=True):
            parameter.grad = part.view_as(parameter)


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield neighbours of one type, of `BUCKET` numbers in all or one parameter alone: a sum of each costs one wait."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        is_full = sum(one.numel() for one in bucket) + parameter.numel() > BUCKET
        if bucket and (is_full or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def clip(accelerator: Any, parameters: Sequence[nn.Parameter], largest: float) -> float:
    """Scale the gradient down to a largest norm, and return the norm that it had; 0 without a gradient."""
    norm = accelerator.clip_grad_norm_(parameters, largest)
    return 0.0 if norm is None else float(whole(norm))
