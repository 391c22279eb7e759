"""The names of Stable Diffusion 1.x, 2.x and XL in one file, which ComfyUI and A1111 read: CompVis' and Stability AI's.

model.diffusion_model.    the UNet: blocks are counted through, input_blocks.4.0 is down_blocks.1.resnets.0
first_stage_model.        the VAE: blocks of the decoder are counted from its end, attention is a convolution of 1 x 1
cond_stage_model.         CLIP of transformers (1.x), or OpenCLIP, whose q, k and v are one matrix (2.x)
conditioner.embedders.    both of them (XL), OpenCLIP with the projection of its text, transposed

Reading it back is diffusers' `from_single_file`.
"""

import itertools
import re
from collections.abc import Callable, Container, Iterable, Mapping

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

UNET_PREFIX, VAE_PREFIX = "model.diffusion_model.", "first_stage_model."
CLIP_PREFIX, OPEN_CLIP_PREFIX = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
XL_CLIP_PREFIX = "conditioner.embedders.0.transformer.text_model."
XL_OPEN_CLIP_PREFIX = "conditioner.embedders.1.model."
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_MIDDLE = {"resnets.0": "middle_block.0", "attentions.0": "middle_block.1", "resnets.1": "middle_block.2"}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MID = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OPEN_CLIP = {
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn": "attn",
    "final_layer_norm": "ln_final",
    "embeddings.token_embedding": "token_embedding",
}
_QKV = re.compile(r"(.+self_attn)\.([qkv])_proj\.(weight|bias)")
POSITIONS, PROJECTION = "embeddings.position_embedding.weight", "text_projection.weight"


def unet(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return a UNet of diffusers under its original names.

    Raises:
        KeyError: it has a layer that this layout has no name for.
    """
    return {UNET_PREFIX + unet_name(name, tensors): value for name, value in tensors.items()}


def unet_modules(modules: Iterable[str]) -> Callable[[str], str]:
    """Return the function from a UNet's module to its original name, given all; a module without one keeps its own."""
    names = {f"{module}.weight" for module in modules}

    def name(module: str) -> str:
        try:
            return unet_name(f"{module}.weight", names).removesuffix(".weight")
        except KeyError:
            return module

    return name


def unet_name(name: str, names: Container[str]) -> str:
    """Return the original name of a UNet's tensor, given all names, which tell how long its blocks are.

    Raises:
        KeyError: there is none.
    """
    module, _, kind = name.rpartition(".")
    if module in _ENDS:
        return f"{_ENDS[module]}.{kind}"
    if match := _MID.fullmatch(name):
        what, number, rest = match.groups()
        return f"{_MIDDLE[f'{what}.{number}']}.{_inner(what, rest)}"
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise KeyError(name)
    side, block, what, number, rest = match.groups()
    per_block = next(i for i in itertools.count() if f"down_blocks.0.resnets.{i}.conv1.weight" not in names)
    first = int(block) * (per_block + 1)
    if what == "downsamplers":
        return f"input_blocks.{first + per_block + 1}.0.op.{rest.removeprefix('conv.')}"
    if what == "upsamplers":
        with_attention = f"up_blocks.{block}.attentions.0.proj_in.weight" in names
        return f"output_blocks.{first + per_block}.{2 if with_attention else 1}.{rest}"
    begin = f"input_blocks.{first + int(number) + 1}" if side == "down" else f"output_blocks.{first + int(number)}"
    return f"{begin}.{1 if what == 'attentions' else 0}.{_inner(what, rest)}"


def _inner(what: str, rest: str) -> str:
    """Return the name inside a block; that of an attention is the same in both layouts."""
    if what == "attentions":
        return rest
    layer, _, kind = rest.rpartition(".")
    return f"{_RESNET[layer]}.{kind}"


def _count(names: Mapping[str, object], pattern: str) -> int:
    """Return how many different numbers a pattern finds in the names."""
    return len({match[1] for name in names if (match := re.fullmatch(pattern, name))})


def vae(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return an AutoencoderKL of diffusers under its original names, with its attention as convolutions."""
    blocks = _count(tensors, r"decoder\.up_blocks\.(\d+)\.resnets\.0\.conv1\.weight")
    out = {}
    for name, value in tensors.items():
        is_matrix = ".attentions." in name and value.dim() == 2  # noqa: PLR2004 - a matrix
        out[VAE_PREFIX + vae_name(name, blocks)] = value[:, :, None, None] if is_matrix else value
    return out


def vae_name(name: str, blocks: int) -> str:
    """Return the original name of a VAE's tensor; `blocks` is the number of the decoder's blocks."""
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda found: f"up.{blocks - 1 - int(found[1])}.block.", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda found: f"up.{blocks - 1 - int(found[1])}.upsample.", name
    )
    name = re.sub(r"mid_block\.resnets\.(\d+)\.", lambda found: f"mid.block_{int(found[1]) + 1}.", name)
    if found := re.fullmatch(r"(.+)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", name):
        return f"{found[1]}.mid.attn_1.{_VAE_ATTENTION[found[2]]}.{found[3]}"
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def clip(tensors: Mapping[str, Tensor], prefix: str = CLIP_PREFIX) -> Tensors:
    """Return the text encoder of SD 1.x, or the first one of SDXL, under its original names."""
    return {prefix + name.removeprefix("text_model."): value for name, value in tensors.items()}


def open_clip(tensors: Mapping[str, Tensor], prefix: str = OPEN_CLIP_PREFIX) -> Tensors:
    """Return the text encoder of SD 2.x, or the second one of SDXL, under its original names.

    q, k and v are one matrix. The last layer of SD 2.x is in no folder of diffusers, since the last but one is what it
    uses; no program needs it.
    """
    tensors = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    out: Tensors = {}
    for name, value in tensors.items():
        if match := _QKV.fullmatch(name):
            layer, which, kind = match.groups()
            if which == "q":
                parts = [tensors[f"{layer}.{each}_proj.{kind}"] for each in "qkv"]
                out[f"{_open_clip_name(layer)}.in_proj_{kind}"] = torch.cat(parts)
        elif name == POSITIONS:
            out["positional_embedding"] = value
        elif name == PROJECTION:
            out["text_projection"] = value.T.contiguous()
        else:
            out[_open_clip_name(name)] = value
    return {prefix + name: value for name, value in out.items()}


def _open_clip_name(name: str) -> str:
    for theirs, original in _OPEN_CLIP.items():
        name = name.replace(theirs, original)
    return name
