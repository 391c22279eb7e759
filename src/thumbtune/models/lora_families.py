"""The family that a LoRA is for, told by the names of its layers in the spellings of all trainers."""

import re
from collections.abc import Iterable

FLUX_2 = ("FLUX.2", "FLUX.2 Klein")
SD = ("Stable Diffusion", "Stable Diffusion XL")
XL = "Stable Diffusion XL"
PRIOR = "a prior, such as that of Stable Cascade"
_DOT = r"[._]"
_BLOCK = rf"{_DOT}\d+{_DOT}"
# patterns, what they are said to be, and the families that have such layers; the first match counts
NAMES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"to_qkv_mlp_proj|(double|single)_stream_modulation|ff(_context)?[._]linear_(in|out)", "FLUX.2", FLUX_2),
    (r"distilled_guidance_layer", "Chroma", ("Chroma",)),
    (rf"(double|single)_blocks{_BLOCK}(img_mod|txt_mod|modulation)", "FLUX.1", ("FLUX.1",)),
    (
        rf"single_transformer_blocks{_BLOCK}(attn{_DOT}to_[qkv]|proj_mlp|proj_out|norm)",
        "FLUX.1 or Chroma",
        ("FLUX.1", "Chroma"),
    ),
    (r"single_transformer_blocks|double_blocks|single_blocks", "FLUX", ("FLUX.1", *FLUX_2, "Chroma")),
    (r"joint_blocks", "Stable Diffusion 3", ("Stable Diffusion 3",)),
    (rf"{_BLOCK}(img|txt)_(mlp|mod)", "Qwen-Image", ("Qwen-Image",)),
    (rf"text_fusion|txtfusion|{_BLOCK}attn{_DOT}(to_gate|w[qkvo])", "Krea 2", ("Krea 2",)),
    (rf"(layers|refiner){_BLOCK}attention{_DOT}to_", "Z-Image", ("Z-Image",)),
    (rf"(layers|refiner){_BLOCK}attention{_DOT}(qkv|out)", "Z-Image or Lumina", ("Z-Image", "Lumina-Image 2.0")),
    (rf"(layers|refiner){_BLOCK}attn{_DOT}to_", "Lumina-Image 2.0", ("Lumina-Image 2.0",)),
    (
        rf"(^|\.|^lora_unet_|^lora_transformer_)blocks{_BLOCK}((self|cross)_attn{_DOT}[qkvo]\b|attn[12]{_DOT}to_|ffn)",
        "Wan",
        ("Wan",),
    ),
    (
        rf"(^|^transformer\.|^diffusion_model\.|^lora_(transformer|unet)_)transformer_blocks{_BLOCK}attn{_DOT}",
        "a diffusion transformer, such as Stable Diffusion 3 or Qwen-Image",
        ("Stable Diffusion 3", "Qwen-Image", "FLUX.1", *FLUX_2, "Chroma", "Krea 2"),
    ),
    (
        rf"(^|^transformer\.|^diffusion_model\.|^lora_(transformer|unet)_)transformer_blocks{_BLOCK}attn[12]{_DOT}to_",
        "Sana, PixArt-Sigma or LTX-Video",
        ("Sana", "PixArt-Sigma"),
    ),
    (r"^transformer\.|^lora_transformer_|transformer\.transformer_blocks", "a diffusion transformer, such as FLUX", ()),
    (r"lora_te[123]_|text_encoder_[23]\.|lora_unet_(input|output|middle)_block", XL, (XL,)),
    (r"lora_prior_|^prior\.", PRIOR, ()),
    (rf"(down|up)_blocks{_BLOCK}(attentions|resnets)|mid_block{_DOT}(attentions|resnets)", "Stable Diffusion", SD),
    (r"^diffusion_model\.|lora_unet_blocks_\d+_|^blocks\.\d+\.", "a diffusion transformer, such as Wan", ()),
)
TEXTS = re.compile(r"^(lora_te\d?_|text_encoder)")


def family_in(names: Iterable[str], base: str) -> tuple[str, bool] | None:
    """Return the family that names of layers are of, and whether the base is of it; None if they tell none.

    Every UNet has layers that the base's own names fit, so of those only another family is told.

    base: the name of the base's family
    """
    is_unet = base in SD
    listed = [name for name in names if is_unet or not TEXTS.match(name)]
    patterns = [one for one in NAMES if one[2] or is_unet or one[1] == PRIOR]
    found = [(name, base in own) for pattern, name, own in patterns if any(re.search(pattern, one) for one in listed)]
    return next((one for one in found if not (is_unet and one[1])), None)
