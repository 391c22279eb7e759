"""Tensors that are divided among processes: each process has a chunk of their rows.

    tensor [r, ...]  ->  chunk k of n, in process k of n        `cut` divides, and `whole` puts the chunks together

They are torch's DTensors. Tensors that are not divided go through all functions as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a process has only its own rows of a tensor."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """Return this process's rows of a tensor, which share its memory; a tensor that is not divided as it is."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[operator]


def whole(tensor: Tensor) -> Tensor:
    """Return all rows of a tensor; of one that is divided, all processes must ask together."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[operator]


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return all rows of tensors, on the CPU where they were divided; None in processes that need not have them.

    Of divided tensors all processes must ask together, in one order. They are gathered one by one, and the first
    process alone keeps them.
    """
    if not any(map(is_sharded, tensors.values())):
        return dict(tensors)
    import torch.distributed as dist

    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        one = whole(tensor.detach())
        if dist.get_rank() == 0:
            kept[name] = one.cpu()
    return kept if dist.get_rank() == 0 else None


def cut(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor that is here as a whole, divided as another one of its shape is; nothing is sent."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import DTensor

    divided: Any = like
    mesh = divided.device_mesh
    rows = tensor.chunk(mesh.size())
    own = rows[mesh.get_local_rank()] if mesh.get_local_rank() < len(rows) else tensor[:0]
    return DTensor.from_local(
        own.to(local(like).device, copy=True),
        mesh,
        divided.placements,
        run_check=False,
        shape=tensor.shape,
        stride=like.stride(),
    )


@torch.no_grad()
def put(target: Tensor, tensor: Tensor) -> None:
    """Copy a tensor that is here as a whole into one that may be divided."""
    local(target).copy_(local(cut(tensor, target)))


@contextmanager
def exchanged(weights: Sequence[Tensor], others: Sequence[Tensor]) -> Iterator[None]:
    """Exchange the numbers of tensors with those of others inside the `with` block, one tensor after the other.

    What gathers a divided weight reads its memory, so another tensor in its place would not be seen.
    """
    _exchange(weights, others)
    try:
        yield
    finally:
        _exchange(weights, others)


@torch.no_grad()
def _exchange(weights: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    for one, other in zip(map(local, weights), map(local, others), strict=True):
        kept = one.clone()
        one.copy_(other)
        other.copy_(kept)


def cut_slots(
    slots: Mapping[int, Mapping[str, Tensor]], weights: Sequence[Tensor]
) -> Mapping[int, Mapping[str, Tensor]]:
    """Return what an optimiser keeps of each weight, divided as the weight is; numbers stay whole."""
    return {
        number: {
            name: cut(value, weights[number]) if value.shape == weights[number].shape else value
            for name, value in own.items()
        }
        for number, own in slots.items()
    }


def bytes_here(tensors: Sequence[Tensor]) -> int:
    """Return the bytes of the rows that this process has of tensors."""
    return sum(local(tensor).nbytes for tensor in tensors)
