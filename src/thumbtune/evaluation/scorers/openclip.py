"""Rename the weights of an OpenCLIP ViT to the names in `transformers`.

    visual.transformer.resblocks.3.attn.in_proj_weight   [3d, d]
      -> vision_model.encoder.layers.3.self_attn.{q,k,v}_proj.weight   [d, d] each
    visual.proj  [width, joint]  ->  visual_projection.weight  [joint, width], transposed

HPS v2 is published with the first names; with the second, `CLIPModel` computes the same output.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from thumbtune.errors import ThumbtuneError

OUTSIDE_BLOCKS = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    **{
        f"{published}.{part}": f"{ours}.{part}"
        for published, ours in {
            "visual.ln_pre": "vision_model.pre_layrnorm",  # this spelling is in transformers
            "visual.ln_post": "vision_model.post_layernorm",
            "ln_final": "text_model.final_layer_norm",
        }.items()
        for part in ("weight", "bias")
    },
}
TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
IN_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")
NO_WEIGHT = {"attn_mask", "text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"}


def vit_h_14() -> dict[str, Any]:
    """Return the shape of OpenCLIP's ViT-H/14 as arguments of `CLIPConfig`; weights do not give the number of heads."""
    same = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 16, "projection_dim": 1024}
    vision = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "patch_size": 14}
    text = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
    return {"projection_dim": 1024, "vision_config": vision | same | {"image_size": 224}, "text_config": text | same}


def from_openclip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with the names of `CLIPModel`.

    Raises:
        ThumbtuneError: a name is not from an OpenCLIP ViT.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in OUTSIDE_BLOCKS:
            renamed[OUTSIDE_BLOCKS[name]] = tensor
        elif name in TRANSPOSED:
            renamed[TRANSPOSED[name]] = tensor.T.contiguous()
        elif name not in NO_WEIGHT:
            renamed |= _in_block(name, tensor)
    return renamed


def _in_block(name: str, tensor: Tensor) -> dict[str, Tensor]:
    match = BLOCK.fullmatch(name)
    if match is None or match[3] not in {*IN_BLOCK, "attn.in_proj"}:
        raise ThumbtuneError(
            f"The weights contain {name!r}, which an OpenCLIP ViT does not have; use the file of this scorer.",
            code="scorer-weights-mismatch",
        )
    side = "vision_model" if match[1] else "text_model"
    layer = f"{side}.encoder.layers.{match[2]}"
    if match[3] == "attn.in_proj":
        thirds = tensor.chunk(3)
        return {f"{layer}.self_attn.{x}_proj.{match[4]}": t.contiguous() for x, t in zip("qkv", thirds, strict=True)}
    return {f"{layer}.{IN_BLOCK[match[3]]}.{match[4]}": tensor}
