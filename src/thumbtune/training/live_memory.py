"""How much memory tensors take, counted as they come and go: of real work, or of work on tensors without values.

    with without_values(), LiveMemory() as memory:
        give_shapes(network)          # built on the device `meta`; its weights now look as if they were on the CPU
        network(torch.zeros(1, 4, 64, 64)).sum().backward()
    memory.peak                       # bytes

Work without values takes seconds and no memory, whatever the size of the network. What is counted are the bytes of all
storages that are alive; not the workspaces of kernels, nor what an allocator keeps back. For that of a CPU, see `heap`.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

MAPPED = 32 * 2**20  # bytes: glibc gives a block of so many back to the system at once; a smaller one leaves a hole


class LiveMemory(TorchDispatchMode):
    """Count the bytes of the tensors that operations inside the `with` block make, while these are alive.

    Tensors of before count once a view of them is made: `count` them first, such as the weights of a network.

    now:  bytes at present
    peak: the most so far; `begin_peak` starts it anew
    heap: the most that blocks of less than `MAPPED` had in it beyond what they have when it starts
    number: what Python reads of a tensor without values; Lumina 2 asks for the number of tokens
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = 1
        self.now = 0
        self.peak = 0
        self.heap = 0
        self._small = self._small_at_first = 0
        self._sizes: dict[int, int] = {}  # of living storages, by their address

    def begin_peak(self) -> None:
        """Forget the most so far."""
        self.peak = self.now
        self.heap, self._small_at_first = 0, self._small

    def count(self, tensor: Tensor) -> None:
        """Count a tensor that was made outside of the block; each storage counts once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self._add(storage.nbytes())
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._add(-self._sizes.pop(key, 0))

    def _add(self, size: int) -> None:
        self.now += size
        self._small += size if abs(size) < MAPPED else 0
        self.peak = max(self.peak, self.now)
        self.heap = max(self.heap, self._small - self._small_at_first)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return self.number
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.count, result)
        return result


@contextmanager
def without_values() -> Iterator[None]:
    """Make all tensors inside the `with` block ones without values, which take no memory."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def give_shapes(network: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Replace the weights and buffers of a network on `meta` by ones of the same shape, inside `without_values`.

    Args:
        dtype: of the weights that are not trained; None: each keeps its own.
    """
    for module in network.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                kind = weight.dtype if dtype is None or weight.requires_grad else dtype
                made = nn.Parameter(torch.empty(weight.shape, dtype=kind), requires_grad=weight.requires_grad)
                module._parameters[name] = made
        for name, value in list(module._buffers.items()):
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype)
    return network
