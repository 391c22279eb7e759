"""A VAE in the place of a pipeline's own: of a folder, of the hub, or of a .safetensors file in either layout.

A file in the original layout has `encoder.down.0.block...`, alone or under `first_stage_model.` in a whole checkpoint.
A file has no settings, so they are those of the VAE that it replaces.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from thumbtune import hub
from thumbtune.errors import ThumbtuneError, reason
from thumbtune.files import refuse_not_finite
from thumbtune.models.family import CONFIG
from thumbtune.models.single_file import plan_of
from thumbtune.models.weight_files import SAFETENSORS, is_checkpoint, keys_in, refuse_other_file

WHOLE = "first_stage_model."
ORIGINAL, DIFFUSERS = ("encoder.down.", "decoder.up."), ("encoder.down_blocks.", "decoder.up_blocks.")
FILE = "diffusion_pytorch_model"
BEFORE = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_vae(name: str, own: Any, dtype: torch.dtype) -> Any:
    """Return the VAE of that name.

    Args:
        own: the VAE that it replaces, whose latents it must share.

    Raises:
        ThumbtuneError: it is no VAE, cannot be read, or has latents of another kind.
    """
    try:
        vae = _of_file(Path(name), own) if Path(name).is_file() else _of_folder(name)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        if isinstance(error, ThumbtuneError):
            raise
        raise _unreadable(name, reason(error)) from error
    ours, theirs = (dict(one.config) for one in (own, vae))
    for what in ("latent_channels", "in_channels"):
        if ours[what] != theirs[what]:
            raise _unreadable(name, f"its {what} are {theirs[what]} and not {ours[what]}")
    if ours["scaling_factor"] != theirs["scaling_factor"]:
        scales = f"{theirs['scaling_factor']} and not by {ours['scaling_factor']}"
        raise _unreadable(name, f"its latents are scaled by {scales}, so it is one of another family")
    if len(ours["block_out_channels"]) != len(theirs["block_out_channels"]):
        raise _unreadable(name, "its latents have another size")
    return vae.to(dtype).eval()


def _unreadable(name: str, why: str) -> ThumbtuneError:
    return ThumbtuneError(
        f"vae: {name} is not a VAE for this model ({why}); name a folder in diffusers' layout, a hub id, or a "
        ".safetensors file.",
        code="vae-misfit",
    )


def _of_file(file: Path, own: Any) -> Any:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from safetensors.torch import load_file

    refuse_other_file(file)
    if file.suffix.lower() != SAFETENSORS:
        raise _unreadable(str(file), "it does not end in .safetensors")
    names = [key.removeprefix(WHOLE) for key in keys_in(file) if key.startswith((WHOLE, *ORIGINAL, *DIFFUSERS))]
    is_original = any(name.startswith(ORIGINAL) for name in names)
    if not is_original and not any(name.startswith(DIFFUSERS) for name in names):
        raise _unreadable(str(file), "it has no tensors with the names of one")
    tensors = load_file(file)
    if any(key.startswith(WHOLE) for key in tensors):
        tensors = {key.removeprefix(WHOLE): value for key, value in tensors.items() if key.startswith(WHOLE)}
    tensors = {_today(key): value for key, value in tensors.items()}
    refuse_not_finite(tensors)
    if is_checkpoint(file) and plan_of(file).configs["vae"]["scaling_factor"] != own.config["scaling_factor"]:
        raise _unreadable(str(file), "it is that of a checkpoint of another family")
    config: Mapping[str, Any] = own.config
    vae: Any = AutoencoderKL.from_config(dict(config))
    vae.load_state_dict(convert_ldm_vae_checkpoint(dict(tensors), dict(config)) if is_original else tensors)
    return vae


def _today(key: str) -> str:
    """Return the name of a tensor as diffusers has it today; its attention had other names before."""
    found = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\..*)", key)
    return f"{found[1]}{BEFORE[found[2]]}{found[3]}" if found else key


def _of_folder(name: str) -> Any:
    from diffusers import AutoencoderKL

    folder = Path(name)
    if folder.is_dir():
        files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    else:
        files = hub.files_of(name) or []
    inside = "" if CONFIG in files else "vae"
    here = [file.removeprefix(f"{inside}/" if inside else "") for file in files]
    variants = {file.split(".")[1] for file in here if file.startswith(f"{FILE}.") and file.count(".") == 2}  # noqa: PLR2004
    plain = f"{FILE}{SAFETENSORS}" in here
    variant = None if plain or not variants else min(variants, key=lambda one: (one != "fp16", one))
    return AutoencoderKL.from_pretrained(name, subfolder=inside or None, use_safetensors=True, variant=variant)
