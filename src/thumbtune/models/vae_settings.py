"""The settings of a VAE, without its weights: as the shapes in a file tell them, of a folder, or of the hub.

A file has no settings. Its shapes give the widths; how latents are scaled is that of the model, or of its family.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.documents import read_config
from thumbtune.errors import ThumbtuneError, reason
from thumbtune.hub import is_hub_id, settings_file
from thumbtune.models.missing import is_missing, missing
from thumbtune.models.original_layout import vae_name
from thumbtune.models.weight_files import SAFETENSORS, is_checkpoint, keys_in, refuse_other_file

Shapes = Mapping[str, tuple[int, ...]]
CLASS, CONFIG, FOLDER = "AutoencoderKL", "config.json", "vae"
WHOLE = "first_stage_model."
ORIGINAL, DIFFUSERS = ("encoder.down.", "decoder.up."), ("encoder.down_blocks.", "decoder.up_blocks.")
PUBLISHED = (128, 256, 512, 512)  # the widths of the VAEs of SD 1.x, 2.x and XL
FAULTS = (ValueError, TypeError, RuntimeError, KeyError, AttributeError)  # of settings that make no VAE
SCALING, SCALING_OF_XL = SCALINGS = (0.18215, 0.13025)  # of SD 1.x and 2.x, and of SDXL


@dataclass(frozen=True)
class OwnVae:
    """What is known of a model's own VAE, which another one may replace.

    config:    its settings; without one, those of the VAE that was published with its family
    is_there:  whether the model has one
    is_scaled: whether the model itself says how its latents are scaled; a single file does not
    """

    config: Mapping[str, Any]
    is_there: bool = True
    is_scaled: bool = True


def published(scaling: float, channels: tuple[int, ...] = PUBLISHED) -> dict[str, Any]:
    """Return the settings of the VAE of Stable Diffusion whose latents are scaled so."""
    return {
        "_class_name": CLASS,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": list(channels),
        "layers_per_block": 2,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "scaling_factor": scaling,
    }


def of_shapes(shapes: Shapes) -> dict[str, Any]:
    """Return what the shapes of a VAE tell, under their original names or those of diffusers, without a prefix.

    Raises:
        KeyError: a tensor that every VAE has is missing.
    """
    if any(key.startswith(DIFFUSERS) for key in shapes):
        blocks = len({key.split(".")[2] for key in shapes if key.startswith(DIFFUSERS[1])})
        shapes = {vae_name(key, blocks): shape for key, shape in shapes.items() if ".attentions." not in key}
    blocks = _count(shapes, ORIGINAL[0])
    told = {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "block_out_channels": [shapes[f"encoder.down.{i}.block.0.conv2.weight"][0] for i in range(blocks)],
        "layers_per_block": _count(shapes, "encoder.down.0.block."),
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
    }
    absent = {f"use_{part}": False for part in ("quant_conv", "post_quant_conv") if f"{part}.weight" not in shapes}
    return told | absent


def _count(shapes: Shapes, prefix: str) -> int:
    """Return how many numbers follow a prefix in the names."""
    return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})


def own_of(config: Mapping[str, Any] | None, scaling: float) -> OwnVae:
    """Return what is known of the VAE of a folder or of the hub, by its settings and the scaling of its family."""
    if config is not None and config.get("_class_name", CLASS) == CLASS:
        try:
            return OwnVae(with_defaults(config))
        except FAULTS:  # another one takes its place
            pass
    return OwnVae(published(scaling), is_there=False, is_scaled=False)


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a VAE with the defaults of those that they leave out."""
    import torch
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        return dict(AutoencoderKL.from_config(dict(config)).config)  # type: ignore[union-attr]


def shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a VAE in a file, alone or in a whole checkpoint, without a prefix.

    Raises:
        ThumbtuneError: there is none.
    """
    refuse_other_file(file)
    if file.suffix.lower() != SAFETENSORS:
        raise misfit(str(file), "it does not end in .safetensors")
    keys = keys_in(file)
    whole = {key.removeprefix(WHOLE): shape for key, shape in keys.items() if key.startswith(WHOLE)}
    shapes = whole or keys
    if not any(key.startswith((*ORIGINAL, *DIFFUSERS)) for key in shapes):
        raise misfit(str(file), "it has no tensors with the names of one")
    return shapes


def settings_of(name: str, own: OwnVae) -> dict[str, Any] | None:
    """Return the settings of a VAE of that name, in the place of a model's own; None for one that is nowhere.

    Raises:
        ThumbtuneError: it is a path to nothing, no VAE, or has latents of another kind.
    """
    path = Path(name)
    if path.is_file():
        config = _of_file(path, own)
    else:
        if is_missing(name):
            forms = "a folder in diffusers' layout, a hub id or a .safetensors file"
            raise ThumbtuneError(missing(name, forms, "vae"), code="vae-misfit")
        config = _of_folder(name)
        if config is None:
            return None
        kind = config.get("_class_name", CLASS)
        if kind != CLASS:
            raise misfit(name, f"it is a {kind}")
        try:
            config = with_defaults(config)
        except FAULTS as error:
            raise misfit(name, reason(error)) from error
    _check(name, config, own)
    return config


def _of_file(file: Path, own: OwnVae) -> dict[str, Any]:
    """Return the settings of a VAE in a file; how latents are scaled is that of the family of a whole checkpoint."""
    from thumbtune.models.single_file import plan_of  # which is built on this module

    try:
        config = {**own.config, **of_shapes(shapes_in(file))}
        if is_checkpoint(file):
            config["scaling_factor"] = plan_of(file).configs[FOLDER]["scaling_factor"]
        return config
    except KeyError as error:
        raise misfit(str(file), f"it has no {error.args[0]}") from error


def _of_folder(name: str) -> dict[str, Any] | None:
    """Return the settings in a folder or on the hub, of a VAE alone or of a whole model."""
    for place in (CONFIG, f"{FOLDER}/{CONFIG}"):
        file = settings_file(name, place) if is_hub_id(name) else Path(name) / place
        if file is not None and (config := read_config(file)) is not None:
            return config
    return None


def _check(name: str, theirs: Mapping[str, Any], own: OwnVae) -> None:
    """Refuse a VAE whose latents are not those of the model."""
    ours = own.config
    for what in ("latent_channels", "in_channels"):
        if ours[what] != theirs[what]:
            raise misfit(name, f"its {what} are {theirs[what]} and not {ours[what]}")
    scale, wanted = theirs["scaling_factor"], ours["scaling_factor"]
    if scale != wanted and (own.is_scaled or scale in SCALINGS):
        raise misfit(name, f"its latents are scaled by {scale} and not by {wanted}, so it is one of another family")
    if own.is_there and len(ours["block_out_channels"]) != len(theirs["block_out_channels"]):
        raise misfit(name, "its latents have another size")


def has_moments(config: Mapping[str, Any]) -> bool:
    """Return whether settings scale latents by a mean and a deviation of each channel, for which they need both."""
    return config.get("latents_mean") is not None and config.get("latents_std") is not None


def refuse_unread(whose: str, config: Mapping[str, Any], pipeline: str, moments: bool) -> None:
    """Refuse settings of a VAE that diffusers does not read, since it would draw other images with them.

    Args:
        whose: the VAE; begins the sentence.
        pipeline: the class of diffusers.
        moments: whether that class reads `latents_mean` and `latents_std`; none reads `shift_factor`.

    Raises:
        ThumbtuneError: there are such settings.
    """
    if has_moments(config):
        unread = "" if moments else "latents_mean and latents_std"
    else:
        unread = "shift_factor" if config.get("shift_factor") else ""
    if unread:
        raise ThumbtuneError(
            f"{whose} has {unread} in its settings, and {pipeline} of diffusers does not read these, so it would draw "
            "other images than Thumbtune; name a VAE without them as vae.",
            code="vae-unread-settings",
        )


def misfit(name: str, why: str) -> ThumbtuneError:
    """Return the error for a VAE that cannot take the place of the model's own."""
    return ThumbtuneError(
        f"vae: {name} is not a VAE for this model ({why}); name a folder in diffusers' layout, a hub id, or a "
        ".safetensors file.",
        code="vae-misfit",
    )
