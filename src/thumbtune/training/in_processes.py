"""What several processes do together in a step: share its batch, gather what they measured, and sum their gradients."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from thumbtune.errors import UsageError

BUCKET = 2**24  # numbers that are summed at once: 64 MiB of float32, while a LoRA has hundreds of small tensors


def check_shared(size: int, paired: bool, processes: int) -> None:
    """Refuse an effective batch that the processes cannot share equally.

    Raises:
        UsageError: they cannot, or not pair by pair.
    """
    unit = processes * (2 if paired else 1)
    if size % unit:
        raise UsageError(
            f"train.batch is {size}, which {processes} processes cannot share equally"
            f"{', pair by pair' if paired else ''}; make it a multiple of {unit}.",
            code="batch-not-shared",
        )


def gathered(accelerator: Accelerator, rows: Float[Tensor, "n c"]) -> Float[Tensor, "finite c"]:
    """Return the finite rows of all processes, so that a broken image changes nothing."""
    if accelerator.num_processes > 1:
        padded: Any = accelerator.pad_across_processes(rows, dim=0, pad_index=float("nan"))  # type: ignore[arg-type]
        rows = accelerator.gather(padded)  # type: ignore[assignment]
    return rows[rows.isfinite().all(1)]


def add_up(accelerator: Any, parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients over all processes; a process without a finite image adds zeros.

    Weights that no image reached in any process get no gradient, as in one process: the optimiser leaves them alone.
    """
    if accelerator.num_processes == 1:
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
