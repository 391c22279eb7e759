"""What the header of a LoRA file tells ComfyUI, A1111, Civitai and people: `modelspec.*` and `ss_*`, all of them texts.

modelspec.*    Stability AI's model metadata, version 1.0.1    github.com/Stability-AI/ModelSpec
ss_*           the entries of sd-scripts, which A1111 and Civitai show
sshs_*         hashes of the tensors, by which A1111 knows a LoRA under another file name

There are no prompts, raters, paths or times in it, so that equal trainings write equal bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

RANK, ALPHA, ARGUMENTS = "ss_network_dim", "ss_network_alpha", "ss_network_args"
CONV_RANK, CONV_ALPHA = "conv_dim", "conv_alpha"
SPEC = "modelspec"
V_PREDICTION = {"epsilon": "epsilon", "v_prediction": "v"}  # of diffusers, and of both standards
# the width of the text that a UNet takes tells its family: CLIP ViT-L, OpenCLIP ViT-H, and both encoders of SDXL
FIRST, SECOND, XL = 768, 1024, 2048


def network_facts(network: nn.Module) -> dict[str, str]:
    """Return what a network with a LoRA tells of itself."""
    config: Any = network.peft_config["default"]  # type: ignore[union-attr, index]
    arguments: dict[str, Any] = {}
    if config.rank_pattern or config.alpha_pattern:
        ranks, alphas = (next(iter(p.values()), None) for p in (config.rank_pattern, config.alpha_pattern))
        arguments = {CONV_RANK: ranks or config.r, CONV_ALPHA: alphas or config.lora_alpha}
    if config.use_dora:
        arguments |= {"algo": "lora", "dora_wd": True, "wd_on_output": True}
    facts = {
        "ss_network_module": "lycoris.kohya" if config.use_dora else "networks.lora",
        RANK: str(config.r),
        ALPHA: str(float(config.lora_alpha)),
    }
    return facts | ({ARGUMENTS: json.dumps(arguments, sort_keys=True)} if arguments else {})


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
    families = {XL: "stable-diffusion-xl-v1-base", SECOND: second[is_v]}
    family = families.get(width, "stable-diffusion-v1") if isinstance(width, int) else "stable-diffusion-v1"
    version = "sdxl_base_v1-0" if width == XL else ("sd_v2" if width == SECOND else "sd_v1") + ("_v" if is_v else "")
    facts = {
        f"{SPEC}.sai_model_spec": "1.0.1",
        f"{SPEC}.architecture": family + adapter,
        f"{SPEC}.implementation": "diffusers" if adapter else "https://github.com/Stability-AI/generative-models",
        f"{SPEC}.resolution": f"{across}x{height}",
        "ss_base_model_version": version,
        "ss_v2": str(width == SECOND),
        "ss_resolution": f"({across}, {height})",
    }
    known = V_PREDICTION.get(prediction or "")
    return facts | ({f"{SPEC}.prediction_type": known} if known else {})


def hashes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the hash of a file's tensors without its header, as sd-scripts and the model metadata have it."""
    from safetensors.torch import save

    content = save(dict(tensors))
    begin = 8 + int.from_bytes(content[:8], "little")
    digest = hashlib.sha256(memoryview(content)[begin:]).hexdigest()
    return {"sshs_model_hash": digest, f"{SPEC}.hash_sha256": f"0x{digest}"}
