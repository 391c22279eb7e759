"""Half precision: the weights that are stored in it, and what computes with them.

Autocast casts the weights of linear and convolutional layers at every use, and leaves norms in float32. So frozen
weights of these layers that are stored in the type of autocast give the same numbers under it, in half the memory.
"""

import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

# torch.rms_norm computes with a weight in float32, as is meant, and says that it is not its quickest way
warnings.filterwarnings("ignore", "Mismatch dtype between input and weight", UserWarning)

# autocast casts the weights of these layers at every use; a copy that is cast once gives the same numbers
CAST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def store(networks: Iterable[nn.Module], dtype: torch.dtype | None) -> None:
    """Store the frozen weights that autocast would cast in its type, and all others in float32.

    dtype: of autocast; None: it is off, and all stay as they are

    Layers that carry a DoRA are among the others: the lengths of their rows are computed from the weights themselves.
    """
    if dtype is None:
        return
    for network in networks:
        spared = layers_below_dora(network)
        for layer in network.modules():
            is_cast = isinstance(layer, CAST) and layer not in spared
            for weight in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
                if weight.is_floating_point() and not weight.requires_grad:
                    is_buffer = not isinstance(weight, nn.Parameter)
                    weight.data = weight.data.to(dtype if is_cast and not is_buffer else torch.float32)


def states_of(text: Tensor, half: torch.dtype | None) -> Tensor:
    """Return states of a text encoder as a condition has them: float32 on the CPU.

    Where a model computes in bf16 they are numbers of bf16, which a pipeline in bf16 hands its network too. The cache
    then stores 2 bytes for each. fp16 has too small a range for some encoders, so nothing is rounded to it.
    """
    return (text.to(half) if half == torch.bfloat16 else text).cpu().float()


def keep_range(encoder: Any) -> None:
    """Let a text encoder in fp16 compute outside of autocast, if it names layers that exceed the range of fp16.

    transformers computes those of T5 in float32, which autocast would undo.
    """
    names = getattr(encoder, "_keep_in_fp32_modules", None)
    if not names:
        return
    for name, weight in encoder.named_parameters():
        weight.data = weight.data.to(torch.float32 if {*names} & {*name.split(".")} else torch.float16)
    forward = encoder.forward

    def without_autocast(*args: Any, **options: Any) -> Any:
        with torch.autocast(next(encoder.parameters()).device.type, enabled=False):
            return forward(*args, **options)

    encoder.forward = without_autocast


def layers_below_dora(network: nn.Module) -> set[nn.Module]:
    """Return the layers of a network whose weights a DoRA reads."""
    return {layer.base_layer for layer in network.modules() if _has_dora(layer)}  # type: ignore[misc]


def _has_dora(layer: nn.Module) -> bool:
    chosen = getattr(layer, "use_dora", None)  # by the name of the adapter
    return isinstance(chosen, dict) and any(chosen.values())


def computing(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return the autocast of a device in a type; None: one that does nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
