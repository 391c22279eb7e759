"""Blocks of a frozen network that stay in the memory of the machine; copies of their weights travel to the GPU.

    x -> layer of a block: copy of W and b on the device of x -> x W' + b        the next layer's copy travels meanwhile

A copy is an input of the product, so autograd keeps it until the gradient of x is made, and the weights themselves
never change place. With gradient checkpointing a block is computed again for its gradient, with copies of its own, and
the copies of one block at most are there at once, with one made ahead. The numbers are those of a network that is on
the GPU as a whole.

`apply_group_offloading` of diffusers is for drawing: it takes weights away behind autograd's back. On the CPU, with a
folder as the place to go, the gradients of a tiny FLUX.1 are wrong (tests/models/test_block_offload.py).
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from thumbtune.errors import UsageError, note, plural
from thumbtune.models.devices import keep_in_place, stays
from thumbtune.models.half import CAST, layers_below_dora
from thumbtune.models.quantised import Quantised

Weights = dict[str, Tensor]
Blocks = int | Literal["all"]
SLAB = 2**28  # bytes
ALIGNED = 512  # bytes: of the beginning of a weight in a slab


class Offload:
    """Gives layers copies of their weights on the device of their input.

    In each pass the layers come in the order of the pass before, so the copy for the next one is made ahead: on a GPU
    beside the work on the present one, and only after all work before that, so that two copies at most are there.

    always_copies: whether a copy is made on the device of the weights too, as it would be on another one
    """

    def __init__(self) -> None:
        self.always_copies = False
        self._followed_by: dict[tuple[nn.Module, bool], nn.Module] = {}
        self._last: tuple[nn.Module, bool] | None = None
        self._ahead: tuple[nn.Module, torch.device, Weights, Any] | None = None
        self._beside: dict[torch.device, Any] = {}  # streams
        self._pinned: set[nn.Module] = set()
        self._slabs = Slabs()

    def weights(self, layer: nn.Module, device: torch.device) -> Weights:
        """Return the weights of a layer on a device."""
        own = _own(layer)
        if not self.always_copies and all(value.device == device for value in own.values()):
            return own
        ahead, self._ahead = self._ahead, None
        here = ahead is not None and ahead[:2] == (layer, device)
        _, _, weights, event = ahead if ahead is not None and here else self._sent(layer, device)
        if event is not None:
            torch.cuda.current_stream(device).wait_event(event)
        if self._last is not None:
            self._followed_by[self._last] = layer
        self._last = (layer, torch._C._current_graph_task_id() != -1)  # a block that is made again has other followers
        if (following := self._followed_by.get(self._last)) is not None:
            self._ahead = self._sent(following, device)
        return weights

    def _sent(self, layer: nn.Module, device: torch.device) -> tuple[nn.Module, torch.device, Weights, Any]:
        """Return copies of a layer's weights on a device, and the event of a GPU at which they have arrived."""
        if device.type != "cuda" or not torch.cuda.is_available():
            return layer, device, {name: value.to(device, copy=True) for name, value in _own(layer).items()}, None
        if layer not in self._pinned:
            self._pinned.add(layer)
            for value in _own(layer).values():
                value.data = self._slabs.pinned(value.data)
        if device not in self._beside:
            self._beside[device] = torch.cuda.Stream(device)
        now, beside = torch.cuda.current_stream(device), self._beside[device]
        with torch.cuda.stream(beside):
            # memory of this stream is that of earlier copies: each was freed after the last work on it was asked for,
            # and what is copied now waits for all work that was
            weights = {name: torch.empty_like(value, device=device) for name, value in _own(layer).items()}
            beside.wait_stream(now)
            for name, value in _own(layer).items():
                weights[name].copy_(value, non_blocking=True)
            return layer, device, weights, beside.record_event()


class Slabs:
    """Pinned memory, which a GPU reads while it computes: torch takes a power of two for each piece of it."""

    def __init__(self, pin: bool = True) -> None:
        self.pin = pin
        self._slab = torch.empty(0, dtype=torch.uint8)
        self._used = 0
        self._is_refused = False

    def pinned(self, value: Tensor) -> Tensor:
        """Return a tensor in pinned memory, or as it is if there is no such memory."""
        if self._is_refused:
            return value
        size = -(-value.nbytes // ALIGNED) * ALIGNED
        if self._used + size > self._slab.nbytes:
            try:
                self._slab, self._used = torch.empty(max(SLAB, size), dtype=torch.uint8, pin_memory=self.pin), 0
            except RuntimeError as error:
                note(
                    f"Memory of this machine cannot be pinned ({str(error).splitlines()[0]}), so blocks travel to the "
                    "GPU more slowly."
                )
                self._is_refused = True
                return value
        place = self._slab[self._used : self._used + value.nbytes].view(value.dtype).view(value.shape)
        self._used += size
        return place.copy_(value)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Return the blocks of a network of diffusers, in their order."""
    return [block for child in network.children() if isinstance(child, nn.ModuleList) for block in child]


def offload(networks: Iterable[nn.Module], count: Blocks = "all") -> Offload:
    """Keep frozen layers of blocks where they are, whatever their network is moved to; return what copies them.

    Linear and convolutional layers stay, quantised ones too; norms and tables are small and move. So do layers below a
    DoRA, which reads their weights itself.

    Args:
        count: the blocks of each network, the first ones of it.

    Raises:
        UsageError: a network has fewer blocks.
    """
    offloading = Offload()
    for network in networks:
        blocks = blocks_of(network)
        if count != "all" and count > len(blocks):
            raise UsageError(
                f"train.blocks_to_swap is {count}, but the network has {plural(len(blocks), 'block')}; choose "
                f"a number up to {len(blocks)}, or all.",
                code="offload-too-many",
            )
        below = layers_below_dora(network)
        for block in blocks[: len(blocks) if count == "all" else count]:
            for layer in block.modules():
                if type(layer) in (*CAST, Quantised) and layer not in below and not stays(layer):
                    if not any(weight.requires_grad for weight in layer.parameters()):
                        keep_in_place(layer)
                        layer.forward = partial(_computed, layer, offloading)
    return offloading


def bytes_offloaded(network: nn.Module) -> int:
    """Return the bytes of the weights of a network that stay in the memory of the machine."""
    return sum(value.nbytes for layer in network.modules() if stays(layer) for value in _own(layer).values())


def _own(layer: nn.Module) -> Weights:
    return {name: value for name, value in (*layer._parameters.items(), *layer._buffers.items()) if value is not None}


def _computed(layer: Any, offloading: Offload, x: Tensor) -> Tensor:
    """Return what a layer makes of its input, with copies of its weights."""
    weights = offloading.weights(layer, x.device)
    bias = weights.get("bias")
    if isinstance(layer, Quantised):
        return layer.product(x, weights["codes"], weights["scale"], bias)
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weights["weight"], bias)
    return layer._conv_forward(x, weights["weight"], bias)
