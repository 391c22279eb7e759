"""What a pipeline's folder holds, read from its settings before any weights: can it be loaded, tuned and judged?

A UNet for inpainting takes 9 channels and one for edits 8, where the VAE gives 4: neither denoises a plain latent.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from thumbtune.documents import read_config
from thumbtune.errors import ThumbtuneError
from thumbtune.models.lora import DIFFUSERS_FILE
from thumbtune.models.lora_files import PEFT_FILE
from thumbtune.models.lora_names import TEXT, UNET
from thumbtune.models.weight_files import OTHER_FILES, OWN_FORMS, SAFETENSORS, refuse_as_model

INDEX, CONFIG = "model_index.json", "config.json"
Config = Mapping[str, Any]
Size = int | tuple[int, int]  # pixels: of both sides, or (height, width)

VAE = "vae"
# the only classes whose output is what `encode`, `embed` and `predict` expect; FLAX, T5 and others are not
CLASSES = {UNET: "UNet2DConditionModel", VAE: "AutoencoderKL", TEXT: "CLIPTextModel"}
WEIGHTS = {UNET: "diffusion_pytorch_model", VAE: "diffusion_pytorch_model", TEXT: "model"}
OTHER_PARTS = ("transformer", "text_encoder_2", "text_encoder_3", "prior", "decoder", "image_encoder")
FAMILIES = ("StableDiffusionXL", "StableDiffusion3", "Flux", "Kandinsky", "PixArt", "StableCascade", "Sana", "Wan")
VARIANTS = ("fp16", "bf16")  # preferred in this order; any other one is taken if it is alone
MAX_NAMED = 3


def check_pipeline(name: str) -> str | None:
    """Return the variant of a folder's weights, such as fp16; None for plain weights, and for a name on the hub.

    Raises:
        ThumbtuneError: it is a file, of another family, for another task, or only has weights that are not read.
    """
    folder = Path(name)
    if folder.is_file():
        refuse_as_model(folder)
    if not folder.is_dir():
        return None
    index = read_config(folder / INDEX)
    if index is None:
        if not (folder / INDEX).exists():
            _refuse_no_pipeline(folder)
        return None
    _check_classes(name, index)
    unet, vae, text = (read_config(folder / part / CONFIG) or {} for part in (UNET, VAE, TEXT))
    check_configs(name, unet, vae, text)
    if unet and vae:
        if "sample_size" in vae:  # diffusers cannot load a VAE with null
            _square(name, vae["sample_size"], VAE)
        size_of(name, unet, vae, 2 ** (len(vae.get("block_out_channels") or "1") - 1))
    return _variant_of(folder)


def _check_classes(name: str, index: Config) -> None:
    pipeline = str(index.get("_class_name"))
    known = next((family for family in FAMILIES if pipeline.startswith(family)), None)
    others = [part for part in OTHER_PARTS if any(_pair(index.get(part)))]
    if known or others:
        why = "" if known else f" with {' and '.join(others)}"
        raise ThumbtuneError(
            f"The model {name!r} is a {pipeline}{why}, and {OWN_FORMS}; name such a model.", code="model-other-family"
        )
    for part, wanted in CLASSES.items():
        found = _pair(index.get(part))[1]
        if found is not None and found != wanted:
            raise ThumbtuneError(
                f"The model {name!r} is a {pipeline} whose {part} is a {found} in place of a {wanted}, and "
                f"{OWN_FORMS}; name such a model.",
                code="model-other-family",
            )


def _pair(entry: object) -> Sequence[Any]:
    """Return an entry of an index, [library, class]; [None, None] for a part that is not there."""
    return entry if isinstance(entry, list) and len(entry) == 2 else [None, None]  # noqa: PLR2004 - a pair


def check_configs(name: str, unet: Config, vae: Config, text: Config) -> None:
    """Refuse networks that do not fit each other, or need more than a noisy latent, a time and a prompt.

    Raises:
        ThumbtuneError: the channels or the widths differ, or the UNet is one for another task.
    """
    latent, takes, gives = vae.get("latent_channels", 4), unet.get("in_channels", 4), unet.get("out_channels", 4)
    if unet.get("addition_embed_type") is not None:
        raise ThumbtuneError(
            f"The UNet of {name!r} is that of Stable Diffusion XL (addition_embed_type is "
            f"{unet['addition_embed_type']}), and {OWN_FORMS}; name such a model.",
            code="model-other-family",
        )
    if vae and unet and (takes != latent or gives != latent):
        raise ThumbtuneError(
            f"The UNet of {name!r} takes {takes} channels and gives {gives}, but its VAE has {latent}: {_task(takes)} "
            "cannot be trained on images and their prompts, so name a text-to-image model.",
            code="model-channels",
        )
    for option in ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type"):
        if unet.get(option) is not None:
            raise ThumbtuneError(
                f"The UNet of {name!r} needs more than a prompt ({option} is {unet[option]}), which Thumbtune does not "
                "give it; name a text-to-image model.",
                code="model-other-condition",
            )
    width, asked = text.get("hidden_size"), unet.get("cross_attention_dim")
    asked = {asked} if isinstance(asked, int) else set(asked or ())
    if width is not None and asked and asked != {width}:
        raise ThumbtuneError(
            f"The text encoder of {name!r} gives {width} numbers for each token, but its UNet takes "
            f"{', '.join(map(str, sorted(asked)))}; take both from one model.",
            code="model-text-width",
        )


def _task(channels: object) -> str:
    """Return what a UNet with more input channels is for."""
    tasks = {9: "a model for inpainting", 8: "a model for edits, such as InstructPix2Pix", 7: "an upscaler"}
    tasks[5] = "a model that is guided by depth"
    named = tasks.get(channels) if isinstance(channels, int) else None
    return named or "a model for inpainting, edits or another task"


def size_of(name: str, unet: Config, vae: Config, factor: int) -> Size:
    """Return the pixels of a model's images, from the UNet's sample_size or, if that is null, from the VAE's.

    Raises:
        ThumbtuneError: neither says a size, or one that is no whole number above 0.
    """
    latent, own = unet.get("sample_size"), vae.get("sample_size")
    if latent is None and own is not None and "sample_size" not in vae.get("_use_default_values", ()):
        return _square(name, own, VAE)
    if latent is None:
        raise ThumbtuneError(
            f"The model {name!r} has no sample_size in unet/config.json, nor in vae/config.json; write the size of its "
            f"images, divided by {factor}, into the first.",
            code="model-no-size",
        )
    size = _square(name, latent, UNET)
    return size * factor if isinstance(size, int) else (size[0] * factor, size[1] * factor)


def height_and_width(size: Size) -> tuple[int, int]:
    """Return the two sides of a size in pixels."""
    return (size, size) if isinstance(size, int) else size


def _square(name: str, size: object, part: str) -> Size:
    """Return one number if both sides are the same."""
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and side > 0]
    if len(whole) != 2 or len(sides) != 2:  # noqa: PLR2004 - height and width
        raise ThumbtuneError(
            f"The sample_size in {part}/config.json of {name!r} is {str(size)[:40]!r}; write a whole number above 0, "
            "or the height and the width.",
            code="model-bad-size",
        )
    return whole[0] if whole[0] == whole[1] else (whole[0], whole[1])


def _variant_of(folder: Path) -> str | None:
    """Return the variant in which the weights are there, if any part has no plain ones.

    Raises:
        ThumbtuneError: a part has weights, but none in safetensors; or several variants, and none is preferred.
    """
    found: set[str] | None = None
    for part, stem in WEIGHTS.items():
        names = [file.name for file in (folder / part).glob("*") if file.is_file()]
        tensors = [name.removeprefix(stem) for name in names if name.startswith(stem) and name.endswith(SAFETENSORS)]
        plain = SAFETENSORS in tensors or f"{stem}{SAFETENSORS}.index.json" in names
        if plain or not names:
            continue
        variants = {name.split(".")[1].split("-")[0] for name in tensors if name.count(".") == 2}  # noqa: PLR2004
        if not variants:
            _refuse_unread_weights(folder / part, names)
        found = variants if found is None else found & variants
    if not found:
        return None
    chosen = next((variant for variant in VARIANTS if variant in found), None)
    if chosen is None and len(found) > 1:
        raise ThumbtuneError(
            f"The weights of {str(folder)!r} are there as {' and '.join(sorted(found))}, but not as plain safetensors; "
            "name a folder that has one of these alone.",
            code="model-several-variants",
        )
    return chosen or next(iter(found))


def _refuse_unread_weights(folder: Path, names: Sequence[str]) -> None:
    """Refuse a part without safetensors; leave a part without any weights to loading."""
    here = [name for name in names if name.endswith((".bin", ".pt", *OTHER_FILES))]
    if any(name.endswith(".bin") for name in here):
        raise ThumbtuneError(
            f"{folder} has its weights in {', '.join(sorted(here)[:MAX_NAMED])} only, and Thumbtune reads .safetensors "
            "only, since a pickle may run any code; if you trust it, save the model again with "
            "`StableDiffusionPipeline.from_pretrained(FOLDER, use_safetensors=False).save_pretrained(NEW_FOLDER)` of "
            "diffusers.",
            code="model-bin-only",
        )
    if here:
        raise ThumbtuneError(
            f"{folder} has its weights in {', '.join(sorted(here)[:MAX_NAMED])} only, and Thumbtune reads .safetensors "
            "only; get the model in that form.",
            code="model-bin-only",
        )


def _refuse_no_pipeline(folder: Path) -> None:
    """Refuse a folder that holds something else than a pipeline, by what it is; leave an unknown one to loading."""
    if (folder / "recipe.yaml").is_file():
        raise ThumbtuneError(
            f"{folder} is a run and not a model; name the model that it tuned, or the run itself with --run or as a "
            "side of a duel.",
            code="model-is-run",
        )
    if (folder / DIFFUSERS_FILE).is_file() or (folder / PEFT_FILE).is_file():
        raise ThumbtuneError(
            f"{folder} is a LoRA and not a model; name the model that it belongs to, and compare the LoRA as a side of "
            "`thumbtune duel` with --base.",
            code="weights-lora-as-model",
        )
    config = read_config(folder / CONFIG)
    if config is not None:
        kind = config.get("_class_name") or " ".join(map(str, config.get("architectures") or ["single network"]))
        raise ThumbtuneError(
            f"{folder} is a {kind} alone and not a whole model; name a folder with {INDEX}, in diffusers' layout.",
            code="model-part-alone",
        )
    endings = (SAFETENSORS, *OTHER_FILES)
    files = [file for file in sorted(folder.glob("*")) if file.suffix.lower() in endings and file.is_file()]
    if files:
        refuse_as_model(files[0])


def networks_without_weights(name: str) -> dict[str, nn.Module] | None:
    """Return the UNet and the text encoder of a folder with the shapes of their weights, but no values.

    Returns:
        None for a model on the hub, and for a folder that loading will refuse.

    Raises:
        ThumbtuneError: as `check_pipeline`.
    """
    check_pipeline(name)
    unet, text = (read_config(Path(name) / part / CONFIG) for part in (UNET, TEXT))
    if unet is None or text is None:
        return None
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    try:
        with torch.device("meta"):
            return {
                UNET: UNet2DConditionModel.from_config(unet),  # type: ignore[dict-item]
                TEXT: CLIPTextModel(CLIPTextConfig.from_dict(text)),
            }
    except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError):
        return None
