"""Tiny pipelines of random weights, written as one file in the original layout: diffusers' conversion, inverted."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

SD1, SD2, SDXL = "sd1", "sd2", "sdxl"
WIDTHS = (32, 64)
LAYERS = {SD1: 2, SD2: 23, SDXL: 2}
RESNET = (
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("time_emb_proj.", "emb_layers.1."),
    ("conv_shortcut.", "skip_connection."),
)
HEADS = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
)
TEXT = (
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)


def unet_key(key: str, layers: int) -> str:
    """Return the original name of a UNet's tensor."""
    for new, old in HEADS:
        if key.startswith(new):
            return old + key.removeprefix(new)
    if found := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", key):
        way, block, kind, index, rest = found.groups()
        at = int(block) * (layers + 1) + int(index) + (way == "down")
        name = f"{'input' if way == 'down' else 'output'}_blocks"
        if kind == "downsamplers":
            return f"{name}.{(int(block) + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            return f"{name}.{(int(block) + 1) * (layers + 1) - 1}.UP.{rest}"
        if kind == "attentions":
            return f"{name}.{at}.1.{rest}"
        key = f"{name}.{at}.0.{rest}"
    elif found := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", key):
        kind, index, rest = found.groups()
        key = f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}.{rest}"
        if kind == "attentions":
            return key
    for new, old in RESNET:
        key = key.replace(f".{new}", f".{old}")
    return key


def unet_keys(keys: list[str], layers: int) -> dict[str, str]:
    """Return the original name of each; an upsampler follows the attention, if there is one."""
    names = {key: unet_key(key, layers) for key in keys}
    for key, name in names.items():
        if ".UP." in name:
            block = name.split(".UP.")[0]
            place = 2 if f"{block}.1.norm.weight" in names.values() else 1
            names[key] = name.replace(".UP.", f".{place}.")
    return names


def vae_key(key: str, blocks: int) -> str:
    """Return the original name of a VAE's tensor."""
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", key)
    key = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{blocks - 1 - int(m[1])}.block.", key)
    key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample.", key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    for new, old in (("group_norm", "norm"), ("to_out.0", "proj_out"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v")):
        key = key.replace(f"mid_block.attentions.0.{new}.", f"mid.attn_1.{old}.")
    return key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def open_clip(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return a text encoder in the names of OpenCLIP, with one projection for queries, keys and values."""
    made: dict[str, Tensor] = {}
    for full, weight in state.items():
        key = full.removeprefix("text_model.")
        if found := re.match(r"encoder\.layers\.(\d+)\.(.*)", key):
            layer, rest = f"transformer.resblocks.{found[1]}.", found[2]
            if ".q_proj." in rest:
                parts = [state[full.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
                made[f"{prefix}{layer}attn.in_proj_{rest.split('.')[-1]}"] = torch.cat(parts)
            elif "k_proj" not in rest and "v_proj" not in rest:
                for new, old in TEXT:
                    rest = rest.replace(new, old)
                made[f"{prefix}{layer}{rest}"] = weight
        elif key == "text_projection.weight":
            made[f"{prefix}text_projection"] = weight.T.contiguous()
        else:
            key = key.replace("final_layer_norm", "ln_final").replace("embeddings.token_embedding", "token_embedding")
            made[prefix + key.replace("embeddings.position_embedding.weight", "positional_embedding")] = weight
    return made


def clip_l(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return a text encoder in the names of transformers, as SD 1.x and SDXL have it."""
    return {f"{prefix}text_model.{key.removeprefix('text_model.')}": weight for key, weight in state.items()}


def networks(family: str) -> dict[str, Any]:
    """Return the networks of a tiny pipeline."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(3)
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": LAYERS[family]}
    sizes |= {"num_attention_heads": 1, "vocab_size": 49_408, "bos_token_id": 0, "eos_token_id": 2}
    sizes["hidden_act"] = "gelu" if family == SD2 else "quick_gelu"
    made: dict[str, Any] = {"text_encoder": CLIPTextModel(CLIPTextConfig(**sizes))}
    more: dict[str, Any] = {"attention_head_dim": 8 if family == SD1 else [1, 1], "cross_attention_dim": 64}
    if family != SD1:
        more["use_linear_projection"] = True
    if family == SDXL:
        second = sizes | {"hidden_act": "gelu", "hidden_size": 128, "num_attention_heads": 2, "projection_dim": 48}
        made["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**second))
        more |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 32, "cross_attention_dim": 192}
        more |= {"projection_class_embeddings_input_dim": 48 + 6 * 32, "transformer_layers_per_block": [1, 2]}
    kinds = ("DownBlock2D", "CrossAttnDownBlock2D") if family == SDXL else ("CrossAttnDownBlock2D", "DownBlock2D")
    ups = [kind.replace("Down", "Up") for kind in reversed(kinds)]
    unet = {"block_out_channels": WIDTHS, "down_block_types": kinds, "up_block_types": ups, "sample_size": 32}
    made["unet"] = UNet2DConditionModel(**unet, layers_per_block=1 if family == SDXL else 2, **more)
    made["vae"] = AutoencoderKL(
        block_out_channels=WIDTHS,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        scaling_factor=0.13025 if family == SDXL else 0.18215,
    )
    return {part: network.eval() for part, network in made.items()}


def tensors_of(family: str, made: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a pipeline in the original names."""
    unet, vae = made["unet"].state_dict(), made["vae"].state_dict()
    names = unet_keys(list(unet), made["unet"].config["layers_per_block"])
    tensors = {f"model.diffusion_model.{names[key]}": weight for key, weight in unet.items()}
    blocks = len(made["vae"].config["block_out_channels"])
    for key, weight in vae.items():
        conv = "mid_block.attentions" in key and weight.ndim == 2
        tensors[f"first_stage_model.{vae_key(key, blocks)}"] = weight[:, :, None, None] if conv else weight
    text = made["text_encoder"].state_dict()
    if family == SD2:
        unused = {
            key.replace("layers.22.", "layers.23."): weight for key, weight in text.items() if ".layers.22." in key
        }
        return tensors | open_clip({**text, **unused}, "cond_stage_model.model.")
    if family == SD1:
        return tensors | clip_l(text, "cond_stage_model.transformer.")
    tensors |= clip_l(text, "conditioner.embedders.0.transformer.")
    return tensors | open_clip(made["text_encoder_2"].state_dict(), "conditioner.embedders.1.model.")


def write(file: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    """Write a file, and return it; a metadata name's `_` stands for modelspec's `.`."""
    told = {f"modelspec.{key}": text for key, text in metadata.items()}
    save_file({key: weight.contiguous().clone() for key, weight in tensors.items()}, file, told)
    return file
