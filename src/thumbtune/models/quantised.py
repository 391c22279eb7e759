"""Frozen linear layers with fewer bits for each weight; they compute with the weights that the bits stand for.

int8   w = code / 127 * largest |w| of its row                                                     8 bits
nf4    w = level[code] * largest |w| of its 64, with 16 levels      Dettmers et al., arXiv 2305.14314   4.5 bits

Weights are quantised on the device where they are, so on the CPU before a network is moved, and are then the same on
every accelerator.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn
from torch.nn import functional

from thumbtune.bitsandbytes import load

Bits = Literal["int8", "nf4"]
LARGEST = 127
SMALLEST = torch.finfo(torch.float32).tiny  # of a divisor, for weights that are all 0
BLOCK = 64


def to_int8(weight: Float[Tensor, "out inside"]) -> tuple[Int8[Tensor, "out inside"], Float[Tensor, "out 1"]]:
    """Return the codes of weights, and what to multiply those of each row by."""
    scale = weight.abs().amax(1, keepdim=True).clamp(min=SMALLEST) / LARGEST
    return (weight / scale).round().to(torch.int8), scale


def to_nf4(weight: Float[Tensor, "out inside"]) -> tuple[UInt8[Tensor, "pairs 1"], Float[Tensor, "blocks"]]:
    """Return the codes of weights, two in a byte, and the largest |w| of each block.

    Raises:
        ThumbtuneError: bitsandbytes is missing.
    """
    load("train.quantize_base=nf4")
    return torch.ops.bitsandbytes.quantize_4bit(weight.contiguous(), BLOCK, "nf4", torch.uint8)


class Quantised(nn.Linear):
    """A frozen linear layer whose weights are quantised. PEFT puts its adapters on it as on any linear layer."""

    def __init__(self, layer: nn.Linear, bits: Bits) -> None:
        nn.Module.__init__(self)  # that of nn.Linear would make weights
        self.in_features, self.out_features, self.bits = layer.in_features, layer.out_features, bits
        codes, scale = (to_int8 if bits == "int8" else to_nf4)(layer.weight.detach().float())
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def weight_of(self, codes: Tensor, scale: Tensor, dtype: torch.dtype) -> Float[Tensor, "out inside"]:
        """Return the weights that codes stand for."""
        if self.bits == "int8":
            return (codes * scale).to(dtype)
        shape = [self.out_features, self.in_features]
        return torch.ops.bitsandbytes.dequantize_4bit(codes, scale, BLOCK, "nf4", shape, dtype)

    def weight_in(self, dtype: torch.dtype) -> Float[Tensor, "out inside"]:
        """Return the weights that the layer's own codes stand for."""
        return self.weight_of(self.get_buffer("codes"), self.get_buffer("scale"), dtype)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """Return the weights in float32."""
        return self.weight_in(torch.float32)

    def forward(self, input: Float[Tensor, "*b inside"]) -> Float[Tensor, "*b out"]:
        """Compute as a linear layer, in the type of autocast or else in that of the input."""
        return self.product(input, self.get_buffer("codes"), self.get_buffer("scale"), self.bias)

    def product(
        self, input: Float[Tensor, "*b inside"], codes: Tensor, scale: Tensor, bias: Tensor | None
    ) -> Float[Tensor, "*b out"]:
        """Compute with codes, scales and a bias on the device of the input."""
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else input.dtype
        bias = None if bias is None else bias.to(dtype)
        return _Product.apply(input.to(dtype), codes, scale, self, bias)  # type: ignore[return-value]


class _Product(torch.autograd.Function):
    """x W' + b, which makes W again for the gradient: a product of torch would keep it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scale: Tensor, layer: Quantised, bias: Tensor | None) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(codes, scale)
        return functional.linear(x, layer.weight_of(codes, scale, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = gradients
        return gradient @ ctx.layer.weight_of(*ctx.saved_tensors, gradient.dtype), None, None, None, None


def quantise(network: nn.Module, bits: Bits) -> None:
    """Replace the linear layers of a frozen network by quantised ones.

    Raises:
        ThumbtuneError: bitsandbytes is missing, which nf4 needs.
    """
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Linear:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, Quantised(layer, bits))


def count_of(network: nn.Module) -> int:
    """Return the number of weights of a network, quantised ones too."""
    layers = [layer for layer in network.modules() if isinstance(layer, Quantised)]
    return sum(p.numel() for p in network.parameters()) + sum(one.in_features * one.out_features for one in layers)
