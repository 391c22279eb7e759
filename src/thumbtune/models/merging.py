"""A pipeline whose LoRA is part of its weights, as a folder of diffusers or as one file in the original layout."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.files import flush, partial_beside, working_folder, write_tensors
from thumbtune.models import original_layout
from thumbtune.models.lora_header import SPEC, base_facts, is_xl
from thumbtune.models.model_options import V
from thumbtune.models.protocol import Size
from thumbtune.models.single_file import check_shapes
from thumbtune.models.vae_settings import SCALING, SCALING_OF_XL, has_moments
from thumbtune.sides import height_and_width

LOCAL = "_name_or_path"  # where diffusers and transformers loaded a part from, which is nobody else's concern
TYPES, HALVES = ("dtype", "torch_dtype"), ("float16", "bfloat16")  # of transformers' settings, of today and before
V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"
QUICK = "quick_gelu"  # the activation of OpenAI's CLIP, in SD 1.x; OpenCLIP of SD 2.x has gelu


def merge(network: nn.Module) -> int:
    """Add the active adapters of a network to its weights, and take them off; return how many layers had one.

    Raises:
        ThumbtuneError: the sum has NaN or infinite values.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, BaseTunerLayer)]
    for name, layer in layers:
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:  # PEFT's word for values that are not finite
            raise ThumbtuneError(
                f"The weights of {name} with the LoRA on them are NaN or infinite, so nothing was written; take "
                "a LoRA that works.",
                code="merge-not-finite",
            ) from error
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, layer.get_base_layer())
    if layers:
        network._hf_peft_config_loaded = False  # type: ignore[assignment]  # else saving asks for the adapters
    return len(layers)


def merge_pipeline(pipeline: Any) -> int:
    """Merge the adapters of a pipeline's denoiser and text encoders; return how many layers had one."""
    return sum(merge(network) for network in _networks(pipeline))


def _networks(pipeline: Any) -> list[nn.Module]:
    return [part for part in pipeline.components.values() if isinstance(part, nn.Module)]


def write_pipeline(pipeline: Any, folder: Path) -> None:
    """Write a pipeline as a folder of diffusers, whole or not at all, without the paths that it was loaded from.

    Raises:
        ThumbtuneError: the disk is full, or the folder cannot be written.
    """
    partial = partial_beside(folder)

    def write() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with working_folder(partial):
            pipeline.save_pretrained(partial, safe_serialization=True)
            for file in partial.rglob("*.json"):
                mend_settings(file)
            for path in partial.rglob("*"):
                flush(path)
            os.rename(partial, folder)
            flush(folder.parent)

    _written(folder, write)


def _written(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except (OSError, SafetensorError) as error:
        raise ThumbtuneError(
            f"{path} could not be written ({error}); make room or name another place.", code="merge-unwritable"
        ) from error


def mend_settings(file: Path) -> None:
    """Take the path that a part was loaded from out of its settings, and let it load in float32 unless told otherwise.

    transformers loads a text encoder in the type that its settings name, and diffusers all other parts in float32: a
    pipeline that is stored in 16 bits would then be of two types, and stop with an error at its first image.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    mended = _in_float32(content)
    if isinstance(mended, dict):
        mended.pop(LOCAL, None)
    if mended != content:
        file.write_text(json.dumps(mended, indent=2) + "\n", encoding="utf-8")


def _in_float32(content: Any) -> Any:
    """Return settings, and the settings in them, with float32 as the type of the weights."""
    if not isinstance(content, dict):
        return content
    return {
        name: "float32" if name in TYPES and value in HALVES else _in_float32(value) for name, value in content.items()
    }


def write_checkpoint(pipeline: Any, file: Path, size: Size) -> None:
    """Write a pipeline as one file in the original layout of SD 1.x, 2.x and XL, whole or not at all.

    Raises:
        ThumbtuneError: it is of another family, its VAE scales latents in another way than its family's, programs could
            not read it from one file, the disk is full, or the folder cannot be written.
    """
    prediction = pipeline.scheduler.config.get("prediction_type")
    tensors = checkpoint_of(pipeline) | _marks(pipeline, prediction)
    refuse_unreadable(file, tensors)
    _refuse_scaling(pipeline, file)
    facts = base_facts(pipeline.unet.config, prediction, height_and_width(size), "")
    header = {"format": "pt", **facts, f"{SPEC}.title": file.stem}
    write_tensors(file, tensors, header, durable=True)


def refuse_unreadable(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that could not be read from one file again, before they are written.

    Raises:
        ThumbtuneError: they could not.
    """
    try:
        check_shapes(file, {name: tuple(value.shape) for name, value in tensors.items()})
    except ThumbtuneError as error:
        why = str(error).partition(";")[0]
        raise ThumbtuneError(
            f"No program could load this model from one file ({why}), so nothing was written; merge it into the folder "
            f"{file.with_suffix('')} instead.",
            code="merge-unreadable",
        ) from error


def untold_by_file(pipeline: Any, file: Path) -> str | None:
    """Return a sentence if programs need to be told what a pipeline predicts, since its file cannot tell them."""
    if pipeline.scheduler.config.get("prediction_type") != V or is_xl(pipeline.unet.config):
        return None
    return (
        f"The model predicts v, which {file.name} says in its header alone: Thumbtune reads it there, and other "
        f"programs may have to be told, A1111 by {file.with_suffix('.yaml').name} beside it, ComfyUI by its node "
        "ModelSamplingDiscrete, and diffusers by prediction_type."
    )


def _refuse_scaling(pipeline: Any, file: Path) -> None:
    """Refuse a VAE whose scaling is not its family's: a file has no place for it, so each program takes the family's.

    Raises:
        ThumbtuneError: it names the scaling.
    """
    vae, scaling = pipeline.vae.config, SCALING_OF_XL if is_xl(pipeline.unet.config) else SCALING
    if has_moments(vae):
        how = "by a mean and a deviation of each channel"
    elif vae.scaling_factor != scaling:
        how = f"by {vae.scaling_factor:g} and not by {scaling:g}"
    else:
        return
    raise ThumbtuneError(
        f"The VAE scales its latents {how}, which {file} could not tell, so every program would draw wrong colours "
        "with it; name a folder instead.",
        code="merge-scaling",
    )


def _marks(pipeline: Any, prediction: str | None) -> dict[str, Tensor]:
    """Return the empty tensors by which ComfyUI and A1111 know an SDXL that predicts v, and a schedule up to noise."""
    of_v = is_xl(pipeline.unet.config) and prediction == V
    to_noise = bool(pipeline.scheduler.config.get("rescale_betas_zero_snr"))
    return {name: torch.zeros(0) for name, there in ((V_MARK, of_v), (ZERO_SNR_MARK, to_noise)) if there}


def checkpoint_of(pipeline: Any) -> dict[str, Tensor]:
    """Return all weights of a pipeline under their original names.

    Raises:
        ThumbtuneError: it is of a family without such names here.
    """
    try:
        return {
            **original_layout.unet(pipeline.unet.state_dict()),
            **original_layout.vae(pipeline.vae.state_dict()),
            **_texts(pipeline),
        }
    except KeyError as error:
        raise ThumbtuneError(
            f"A {type(pipeline).__name__} with {error.args[0]} cannot be written as one file, since Thumbtune knows "
            "the original names of Stable Diffusion 1.x, 2.x and XL only; name a folder instead.",
            code="merge-other-family",
        ) from error


def _texts(pipeline: Any) -> dict[str, Tensor]:
    """Return the text encoders under their original names."""
    first, second = pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)
    if second is not None:
        return {
            **original_layout.clip(first.state_dict(), original_layout.XL_CLIP_PREFIX),
            **original_layout.open_clip(second.state_dict(), original_layout.XL_OPEN_CLIP_PREFIX),
        }
    of_text = original_layout.clip if first.config.hidden_act == QUICK else original_layout.open_clip
    return of_text(first.state_dict())


def halve(pipeline: Any) -> None:
    """Round all weights of a pipeline to float16.

    Raises:
        ThumbtuneError: a weight is too large for it.
    """
    pipeline.to(torch.float16)
    for network in _networks(pipeline):
        for name, weight in network.named_parameters():
            if not torch.isfinite(weight).all():
                raise ThumbtuneError(
                    f"{name} has values that are too large for float16; leave out --fp16.", code="merge-not-finite"
                )
