"""What the header of a LoRA file tells ComfyUI, A1111, Civitai and people: `modelspec.*` and `ss_*`, all of them texts.

modelspec.*    Stability AI's model metadata, version 1.0.1    github.com/Stability-AI/ModelSpec
ss_*           the entries of sd-scripts, which A1111 and Civitai show
sshs_*         hashes of the tensors, by which A1111 knows a LoRA under another file name

There are no prompts, raters, paths or times in it, so that equal trainings write equal bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

RANK, ALPHA, ARGUMENTS = "ss_network_dim", "ss_network_alpha", "ss_network_args"
CONV_RANK, CONV_ALPHA = "conv_dim", "conv_alpha"
DYNAMIC = "Dynamic"  # sd-scripts' word for a rank or an alpha that differs from layer to layer
SPEC = "modelspec"
IMPLEMENTATION = f"{SPEC}.implementation"
# of files with the original names; sd-scripts writes it for each LoRA of SDXL
ORIGINAL = "https://github.com/Stability-AI/generative-models"
V_PREDICTION = {"epsilon": "epsilon", "v_prediction": "v"}  # of diffusers, and of both standards
# the width of the text that a UNet takes tells its family: CLIP ViT-L, OpenCLIP ViT-H, and both encoders of SDXL
FIRST, SECOND, XL = 768, 1024, 2048


def alpha_of(scale: float, rank: int) -> float:
    """Return the alpha of a layer, scale * rank, as the shortest number that is the same in float32.

    >>> alpha_of(0.1 / 3, 3)
    0.1
    """
    return float(str(np.float32(scale * rank)))


def network_facts(network: nn.Module, others: Sequence[tuple[int, float]] = ()) -> dict[str, str]:
    """Return what a network with a LoRA tells of itself.

    others: the rank and the alpha of each layer of other networks, whose LoRA lies in the same file
    """
    config: Any = network.peft_config["default"]  # type: ignore[union-attr, index]
    rank, alpha = str(config.r), str(float(config.lora_alpha))
    arguments: dict[str, Any] = {}
    if config.rank_pattern or config.alpha_pattern or others:
        rank, alpha, arguments = _of_layers(network, others)
    if config.use_dora:
        arguments |= {"algo": "lora", "dora_wd": True, "wd_on_output": True}
    facts = {
        "ss_network_module": "lycoris.kohya" if config.use_dora else "networks.lora",
        RANK: rank,
        ALPHA: alpha,
    }
    return facts | ({ARGUMENTS: json.dumps(arguments, sort_keys=True)} if arguments else {})


def _of_layers(network: nn.Module, others: Sequence[tuple[int, float]]) -> tuple[str, str, dict[str, Any]]:
    """Return the rank and the alpha of all layers, and those of wide convolutions if all these have others."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    wide, narrow = set(), set(others)
    for layer in network.modules():
        if isinstance(layer, BaseTunerLayer):
            rank = layer.r["default"]  # type: ignore[index]
            base: Any = layer.get_base_layer()
            is_wide = isinstance(base, nn.Conv2d) and max(base.kernel_size) > 1
            (wide if is_wide else narrow).add((rank, alpha_of(layer.scaling["default"], rank)))  # type: ignore[index]
    narrow = narrow or wide
    if len(narrow) == 1 and len(wide) == 1:
        (rank, alpha), (conv_rank, conv_alpha) = *narrow, *wide
        return str(rank), str(alpha), {CONV_RANK: conv_rank, CONV_ALPHA: conv_alpha} if wide != narrow else {}
    ranks, alphas = ({pair[i] for pair in narrow | wide} for i in (0, 1))
    return *(str(each.pop()) if len(each) == 1 else DYNAMIC for each in (ranks, alphas)), {}  # type: ignore[return-value]


def is_xl(unet: Mapping[str, Any]) -> bool:
    """Return whether the settings of a UNet are those of SDXL."""
    return unet.get("addition_embed_type") == "text_time"


def base_facts(unet: Mapping[str, Any], prediction: str | None, size: tuple[int, int], adapter: str) -> dict[str, str]:
    """Return the family, the size and the prediction of a base model.

    unet: the settings of its UNet; a family that its text's width does not tell is the first one, as in sd-scripts
    prediction: `prediction_type` of its scheduler
    size: height and width in pixels
    adapter: what is added to the family: `/lora`, or nothing for a whole checkpoint
    """
    width, is_v = unet.get("cross_attention_dim"), prediction == "v_prediction"
    height, across = size
    second = {True: "stable-diffusion-v2-768-v", False: "stable-diffusion-v2-512"}
    family, version = "stable-diffusion-v1", "sd_v1"
    if xl := width == XL or is_xl(unet):
        family, version = "stable-diffusion-xl-v1-base", "sdxl_base_v1-0"
    elif width == SECOND:
        family, version = second[is_v], "sd_v2"
    version += "_v" if is_v and not xl else ""
    facts = {
        f"{SPEC}.sai_model_spec": "1.0.1",
        f"{SPEC}.architecture": family + adapter,
        IMPLEMENTATION: "diffusers" if adapter else ORIGINAL,
        f"{SPEC}.resolution": f"{across}x{height}",
        "ss_base_model_version": version,
        "ss_v2": str(width == SECOND),
        "ss_resolution": f"({across}, {height})",
    }
    known = V_PREDICTION.get(prediction or "")
    return facts | ({f"{SPEC}.prediction_type": known} if known else {})


def transformer_facts(architecture: str, size: tuple[int, int]) -> dict[str, str]:
    """Return the family and the size, (height, width) in pixels, of a base model that is a transformer."""
    height, across = size
    return {
        f"{SPEC}.sai_model_spec": "1.0.1",
        f"{SPEC}.architecture": f"{architecture}/lora",
        IMPLEMENTATION: "diffusers",
        f"{SPEC}.resolution": f"{across}x{height}",
        "ss_base_model_version": architecture,
        "ss_resolution": f"({across}, {height})",
    }


def hashes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the hash of a file's tensors without its header, as sd-scripts and the model metadata have it."""
    from safetensors.torch import save

    content = save(dict(tensors))
    begin = 8 + int.from_bytes(content[:8], "little")
    digest = hashlib.sha256(memoryview(content)[begin:]).hexdigest()
    return {"sshs_model_hash": digest, f"{SPEC}.hash_sha256": f"0x{digest}"}
