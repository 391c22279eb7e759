"""A VAE in the place of a pipeline's own: of a folder, of the hub, or of a .safetensors file in either layout.

A file in the original layout has `encoder.down.0.block...`, alone or under `first_stage_model.` in a whole checkpoint.
A file has no settings of its own, see `vae_settings`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thumbtune import hub
from thumbtune.errors import ThumbtuneError, reason
from thumbtune.files import refuse_not_finite
from thumbtune.hub import CONFIG
from thumbtune.models.vae_settings import ORIGINAL, WHOLE, OwnVae, misfit, settings_of
from thumbtune.models.weight_files import SAFETENSORS

FILE = "diffusion_pytorch_model"
BEFORE = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_vae(name: str, own: OwnVae, dtype: torch.dtype) -> Any:
    """Return the VAE of that name.

    Args:
        own: the VAE that it replaces, whose latents it must share.

    Raises:
        ThumbtuneError: it is no VAE, cannot be read, or has latents of another kind.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        config = settings_of(name, own)
        vae = _of_file(Path(name), config or {}) if Path(name).is_file() else _of_folder(name)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, HfHubHTTPError) as error:
        if isinstance(error, ThumbtuneError):
            raise
        if isinstance(error, LocalEntryNotFoundError):
            raise ThumbtuneError(
                f"vae: {name} is not on this machine, and the Hugging Face hub could not be reached; name a folder in "
                "diffusers' layout or a .safetensors file, or check the connection.",
                code="vae-misfit",
            ) from error
        raise misfit(name, reason(error)) from error
    return vae.to(dtype).eval()


def _of_file(file: Path, config: Mapping[str, Any]) -> Any:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from safetensors.torch import load_file

    tensors = load_file(file)
    if any(key.startswith(WHOLE) for key in tensors):
        tensors = {key.removeprefix(WHOLE): value for key, value in tensors.items() if key.startswith(WHOLE)}
    tensors = {_today(key): value for key, value in tensors.items()}
    refuse_not_finite(tensors)
    vae: Any = AutoencoderKL.from_config(dict(config))
    if any(name.startswith(ORIGINAL) for name in tensors):
        tensors = convert_ldm_vae_checkpoint(dict(tensors), dict(config))
    _check_shapes(str(file), tensors, vae.state_dict())
    vae.load_state_dict(tensors)
    return vae


def _check_shapes(name: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not those of the VAE, with the first that differs."""
    for key, weight in wanted.items():
        if key not in found:
            raise misfit(name, f"it has no {key}")
        if found[key].shape != weight.shape:
            raise misfit(name, f"its {key} is {tuple(found[key].shape)} and not {tuple(weight.shape)}")
    if others := [key for key in found if key not in wanted]:
        raise misfit(name, f"its {others[0]} is that of another network")


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
    if not folder.is_dir():
        wanted = (CONFIG, f"{FILE}.{variant}{SAFETENSORS}" if variant else f"{FILE}{SAFETENSORS}")
        folder = hub.snapshot(name, [f"{inside}/{file}".lstrip("/") for file in wanted])
    return AutoencoderKL.from_pretrained(str(folder), subfolder=inside or None, use_safetensors=True, variant=variant)
