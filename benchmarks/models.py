"""Folders of models with the published architecture of Stable Diffusion, and with random weights or none at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbtune.models.clip_tokens import clip_tokenizer
from thumbtune.models.single_file import SCALINGS, SD1, SD2, SDXL

__all__ = ["SD1", "SD2", "SDXL", "TINY_SIZE", "write_empty_weights", "write_model", "write_weights"]
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1}
UNETS: Mapping[str, dict[str, Any]] = {
    SD1: {"cross_attention_dim": 768, "attention_head_dim": 8},
    SD2: {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
    SDXL: {
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "use_linear_projection": True,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
TINY: Mapping[str, dict[str, Any]] = {
    SD1: {"cross_attention_dim": 64},
    SD2: {"cross_attention_dim": 64, "attention_head_dim": 8},
    SDXL: {
        "cross_attention_dim": 128,
        "attention_head_dim": 8,
        "transformer_layers_per_block": [1, 1, 1],
        "addition_time_embed_dim": 32,
        "projection_class_embeddings_input_dim": 64 + 6 * 32,
    },
}
SIZES = {SD1: 512, SD2: 768, SDXL: 1024}
TINY_SIZE = 128


def write_model(folder: Path, family: str, tiny: bool = False) -> Path:
    """Write the settings of a model and its tokenizers, without weights, and return the folder.

    Args:
        folder: a new one.
        family: SD1 (Stable Diffusion 1.5), SD2 (2.1, which predicts v) or SDXL.
        tiny: whether the networks are a few megabytes.
    """
    parts = {**_unet_and_vae(family, tiny), **_texts(family, tiny)}
    scheduler = {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085}
    scheduler |= {"beta_end": 0.012, "clip_sample": False, "steps_offset": 1}
    scheduler["prediction_type"] = "v_prediction" if family == SD2 else "epsilon"
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if family == SDXL else "StableDiffusionPipeline"
    }
    for part, config in parts.items():
        library = "diffusers" if part in ("unet", "vae") else "transformers"
        index[part] = [library, config.get("_class_name") or config["architectures"][0]]
        _write(folder / part / "config.json", config)
        if library == "transformers":
            tokenizer = part.replace("text_encoder", "tokenizer")
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
            clip_tokenizer().save_pretrained(folder / tokenizer)
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    _write(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write(folder / "model_index.json", index)
    return folder


def _unet_and_vae(family: str, tiny: bool) -> dict[str, dict[str, Any]]:
    channels = [320, 640, 1280] if family == SDXL else [320, 640, 1280, 1280]
    size = TINY_SIZE if tiny else SIZES[family]
    unet = {"_class_name": "UNet2DConditionModel", "sample_size": size // 8, "block_out_channels": channels}
    unet |= UNETS[family] | (TINY[family] if tiny else {})
    vae = {
        "_class_name": "AutoencoderKL",
        "sample_size": size,
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "scaling_factor": SCALINGS[family],
    }
    if tiny:
        unet["block_out_channels"] = [32] * len(channels)
        vae |= {"block_out_channels": [32] * 4, "layers_per_block": 1}
    return {"unet": unet, "vae": vae}


def _texts(family: str, tiny: bool) -> dict[str, dict[str, Any]]:
    common = {"model_type": "clip_text_model", "vocab_size": 49_408, "bos_token_id": 0, "eos_token_id": 2}
    first = SMALL if tiny else CLIP_H if family == SD2 else CLIP_L
    act = "gelu" if family == SD2 else "quick_gelu"
    texts = {"text_encoder": {"architectures": ["CLIPTextModel"], "hidden_act": act, **common, **first}}
    if family == SDXL:
        second = {"hidden_act": "gelu", "projection_dim": 64 if tiny else 1280, **(SMALL if tiny else CLIP_G)}
        texts["text_encoder_2"] = {"architectures": ["CLIPTextModelWithProjection"], **common, **second}
    return texts


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_empty_weights(folder: Path) -> Path:
    """Write a file without tensors for each network, since a model without files is refused; return the folder.

    What counts memory reads no weights.
    """
    from safetensors.torch import save_file

    for config in folder.glob("*/config.json"):
        save_file({}, config.with_name("diffusion_pytorch_model.safetensors"))
    return folder


def write_weights(folder: Path) -> Path:
    """Write random weights in float32 into a folder of `write_model`, one network after the other; return it."""
    import diffusers
    import torch
    import transformers

    torch.manual_seed(0)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if part not in index:
            continue
        library, name = index[part]
        if library == "diffusers":
            kind = getattr(diffusers, name)
            network = kind.from_config(json.loads((folder / part / "config.json").read_text(encoding="utf-8")))
        else:
            network = getattr(transformers, name)(transformers.CLIPTextConfig.from_pretrained(folder / part))
        network.save_pretrained(folder / part)
        del network
    return folder
