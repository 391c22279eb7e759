"""Which layers of a network get a LoRA: of a UNet three sets, the larger ones as sd-scripts has them.

attention                     to_q, to_k, to_v, to_out: 128 layers of SD 1.5, as the official LoRA of Diffusion-KTO
attention-and-feed-forward    all linear layers and 1 x 1 convolutions of transformers: 192, sd-scripts' default
with-convolutions             those, and the layers of residual blocks and resamplers: 278, sd-scripts' `conv_dim`

A transformer has the first two, under names of its family: those that diffusers' training examples take.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

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

# attention over the tokens of image and text together, as in SD 3 and FLUX.1
JOINT = (
    *(f"attn.{name}" for name in ATTENTION),
    *("attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj", "attn.to_add_out"),
)
JOINT_AND_FEED_FORWARD = (*JOINT, *(f"{one}.net.{end}" for one in ("ff", "ff_context") for end in ("0.proj", "2")))


def of_transformer(attention: tuple[str, ...] = ATTENTION, *feed_forward: str) -> dict[str, tuple[str, ...]]:
    """Return the sets of a transformer: its attention, and with it the layers that are named beside."""
    named = {"attention": attention}
    return named | ({"attention-and-feed-forward": (*attention, *feed_forward)} if feed_forward else {})


def written_out(network: nn.Module, targets: Iterable[str]) -> list[str]:
    """Return targets with those that contain a * replaced by the names of layers that they mean."""
    named: list[str] = []
    for target in targets:
        if "*" in target:
            named += [name for name, _ in network.named_modules() if fnmatchcase(name, target)]
        else:
            named.append(target)
    return named


def targeted(network: nn.Module, targets: Iterable[str]) -> dict[str, nn.Module]:
    """Return the layers of a network whose names are, or end in, one of the targets."""
    ends = tuple(f".{target}" for target in targets)
    return {name: module for name, module in network.named_modules() if f".{name}".endswith(ends)}


def wide_convolutions(network: nn.Module, targets: Iterable[str]) -> list[str]:
    """Return the names of the targeted convolutions that are larger than 1 x 1, to which `conv_dim` applies."""
    layers = targeted(network, targets)
    return [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1]
