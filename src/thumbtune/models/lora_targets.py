"""Which layers of a UNet get a LoRA: three sets, the larger ones as sd-scripts has them.

attention                     to_q, to_k, to_v, to_out: 128 layers of SD 1.5, as the official LoRA of Diffusion-KTO
attention-and-feed-forward    all linear layers and 1 x 1 convolutions of transformers: 192, sd-scripts' default
with-convolutions             those, and the layers of residual blocks and resamplers: 278, sd-scripts' `conv_dim`
"""

from collections.abc import Iterable, Mapping

from torch import nn

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
CONVOLUTIONS = (
    *FEED_FORWARD,
    *("conv1", "conv2", "conv_shortcut", "time_emb_proj"),
    *("downsamplers.0.conv", "upsamplers.0.conv"),
)
PRESETS: Mapping[str, tuple[str, ...]] = {
    "attention": ATTENTION,
    "attention-and-feed-forward": FEED_FORWARD,
    "with-convolutions": CONVOLUTIONS,
}


def targeted(network: nn.Module, targets: Iterable[str]) -> dict[str, nn.Module]:
    """Return the layers of a network whose names are, or end in, one of the targets."""
    ends = tuple(f".{target}" for target in targets)
    return {name: module for name, module in network.named_modules() if f".{name}".endswith(ends)}


def wide_convolutions(network: nn.Module, targets: Iterable[str]) -> list[str]:
    """Return the names of the targeted convolutions that are larger than 1 x 1, to which `conv_dim` applies."""
    layers = targeted(network, targets)
    return [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1]
