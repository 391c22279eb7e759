"""ImageReward and CycleReward: one network reads the prompt while it looks at the image.

    image -> ViT-L/16 -> [197, 1024] -,
    prompt -> BERT with cross-attention -> first token [768] -> MLP -> reward            (Xu et al. 2023)

`transformers` has both towers; the names of the published weights differ, and the MLP is ours to build.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

WIDTHS = (1024, 128, 64, 16, 1)
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,  # timm's; that of transformers is 1e-5, and the difference can be measured
}
TEXT = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "encoder_hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "layer_norm_eps": 1e-12,
    "is_decoder": True,  # or there is no cross-attention; nothing is causal unless forward is told so, and it is not
}
UNUSED = ("blip.vision_proj.", "blip.text_proj.", "blip.text_encoder.embeddings.position_ids")
RENAMED = (
    (r"^blip\.text_encoder\.", "text."),
    (r"^mlp\.layers\.", "head."),
    (r"^blip\.visual_encoder\.cls_token$", "vision.embeddings.class_embedding"),
    (r"^blip\.visual_encoder\.pos_embed$", "vision.embeddings.position_embedding"),
    (r"^blip\.visual_encoder\.patch_embed\.proj\.", "vision.embeddings.patch_embedding."),
    (r"^blip\.visual_encoder\.norm\.", "vision.post_layernorm."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.norm([12])\.", r"vision.encoder.layers.\1.layer_norm\2."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.qkv\.", r"vision.encoder.layers.\1.self_attn.qkv."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.proj\.", r"vision.encoder.layers.\1.self_attn.projection."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.mlp\.", r"vision.encoder.layers.\1.mlp."),
)


@dataclass(frozen=True)
class Kind:
    """What tells one reward of this family from another.

    tokens: the prompt is cut or filled up to so many, the two marks at its ends included
    bends: whether the MLP has GELUs between its layers
    mean, std: of the raw reward, which a reward of mean 0 and variance 1 leaves behind
    """

    tokens: int
    bends: bool
    mean: float = 0.0
    std: float = 1.0


IMAGE_REWARD = Kind(tokens=35, bends=False, mean=0.16717362830052426, std=1.0333394966054072)
CYCLE_REWARD = Kind(tokens=128, bends=True)


class RewardNet(nn.Module):
    """The two towers and the MLP. `vision` and `text` are arguments of `BlipVisionConfig` and `BlipTextConfig`."""

    def __init__(self, kind: Kind, vision: Mapping[str, Any] = VISION, text: Mapping[str, Any] = TEXT) -> None:
        from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

        super().__init__()
        self.kind = kind
        self.vision: Any = BlipVisionModel(BlipVisionConfig(**vision))
        self.text: Any = BlipTextModel(BlipTextConfig(**text), add_pooling_layer=False)
        self.head = _mlp(text["hidden_size"], kind.bends)

    def forward(
        self, pixels: Float[Tensor, "b 3 h w"], tokens: Int[Tensor, "b n"], mask: Int[Tensor, "b n"]
    ) -> Float[Tensor, "b"]:
        """The reward of every image for its prompt."""
        seen = self.vision(pixel_values=pixels).last_hidden_state
        everywhere = torch.ones(seen.shape[:2], dtype=mask.dtype, device=mask.device)
        read = self.text(
            input_ids=tokens, attention_mask=mask, encoder_hidden_states=seen, encoder_attention_mask=everywhere
        ).last_hidden_state[:, 0]
        return (self.head(read)[:, 0] - self.kind.mean) / self.kind.std


def _mlp(width: int, bends: bool) -> nn.Sequential:
    """Layers whose places in the sequence are those in the published weights: 0, 2, 4, 6, 7, or 0, 2, 4, 6, 8."""
    layers: list[nn.Module] = []
    for number, (wide, narrow) in enumerate(zip((width, *WIDTHS), WIDTHS, strict=False)):
        layers.append(nn.Linear(wide, narrow))
        # ImageReward had dropout here, which does nothing to a score, and none before its last layer
        if bends and number < len(WIDTHS) - 1:
            layers.append(nn.GELU())
        elif not bends and number < len(WIDTHS) - 2:
            layers.append(nn.Identity())
    return nn.Sequential(*layers)


def from_blip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights under the names of `RewardNet`; projections that no reward uses are left out."""
    return {_renamed(name): tensor for name, tensor in state.items() if not name.startswith(UNUSED)}


def _renamed(name: str) -> str:
    for theirs, ours in RENAMED:
        new, times = re.subn(theirs, ours, name)
        if times:
            return new
    return name  # left as it is, so that loading says which name it does not know
