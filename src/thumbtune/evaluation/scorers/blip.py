"""ImageReward and CycleReward: a text encoder reads the prompt with cross-attention to the image.

    image -> ViT-L/16 -> [197, 1024] -,
    prompt -> BERT with cross-attention -> first token [768] -> MLP -> reward            (Xu et al. 2023)

`transformers` provides both towers. The published weights have other names, and the MLP is built here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

HEAD_WIDTHS = (1024, 128, 64, 16, 1)
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,  # as in timm; the 1e-5 of transformers changes scores measurably
}
TEXT = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "encoder_hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "layer_norm_eps": 1e-12,
    "is_decoder": True,  # adds cross-attention; attention stays bidirectional
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
class RewardKind:
    """The settings that distinguish the rewards of this family.

    tokens: length to which a prompt is truncated or padded, with its two special tokens
    activation: whether the MLP has GELUs between its layers
    mean, std: statistics of the raw reward, which normalise it to mean 0 and variance 1
    """

    tokens: int
    activation: bool
    mean: float = 0.0
    std: float = 1.0


IMAGE_REWARD = RewardKind(tokens=35, activation=False, mean=0.16717362830052426, std=1.0333394966054072)
CYCLE_REWARD = RewardKind(tokens=128, activation=True)


class RewardNet(nn.Module):
    """The two towers and the MLP; `vision` and `text` are arguments of `BlipVisionConfig` and `BlipTextConfig`."""

    def __init__(self, kind: RewardKind, vision: Mapping[str, Any] = VISION, text: Mapping[str, Any] = TEXT) -> None:
        from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

        super().__init__()
        self.kind = kind
        self.vision: Any = BlipVisionModel(BlipVisionConfig(**vision))
        self.text: Any = BlipTextModel(BlipTextConfig(**text), add_pooling_layer=False)
        self.head = _mlp(text["hidden_size"], kind.activation)

    def forward(
        self, pixels: Float[Tensor, "b 3 h w"], tokens: Int[Tensor, "b n"], mask: Int[Tensor, "b n"]
    ) -> Float[Tensor, "b"]:
        """Return the reward of each image for its prompt."""
        patches = self.vision(pixel_values=pixels).last_hidden_state
        all_patches = torch.ones(patches.shape[:2], dtype=mask.dtype, device=mask.device)
        first_token = self.text(
            input_ids=tokens, attention_mask=mask, encoder_hidden_states=patches, encoder_attention_mask=all_patches
        ).last_hidden_state[:, 0]
        return (self.head(first_token)[:, 0] - self.kind.mean) / self.kind.std


def _mlp(width: int, activation: bool) -> nn.Sequential:
    """Layers whose locations in the sequence are those in the published weights: 0, 2, 4, 6, 7, or 0, 2, 4, 6, 8."""
    layers: list[nn.Module] = []
    for number, (wide, narrow) in enumerate(zip((width, *HEAD_WIDTHS), HEAD_WIDTHS, strict=False)):
        layers.append(nn.Linear(wide, narrow))
        # ImageReward has dropout at these indices, inactive in evaluation, but none before its last layer
        if activation and number < len(HEAD_WIDTHS) - 1:
            layers.append(nn.GELU())
        elif not activation and number < len(HEAD_WIDTHS) - 2:
            layers.append(nn.Identity())
    return nn.Sequential(*layers)


def from_blip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return published weights with the names of `RewardNet`, without the projections that rewards do not use."""
    return {_renamed(name): tensor for name, tensor in state.items() if not name.startswith(UNUSED)}


def _renamed(name: str) -> str:
    for published, ours in RENAMED:
        new, count = re.subn(published, ours, name)
        if count:
            return new
    return name  # unchanged, so that loading reports the unknown name
