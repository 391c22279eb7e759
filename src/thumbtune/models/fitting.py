"""Whether the networks of a pipeline are those of its family, and fit each other: told by their settings alone.

A UNet for inpainting takes 9 channels and one for edits 8, where the VAE gives 4: neither denoises a plain latent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.errors import ThumbtuneError
from thumbtune.hub import INDEX
from thumbtune.models.family import OWN_FAMILIES, TEXT, VAE, Family
from thumbtune.models.protocol import Size
from thumbtune.models.sizes import size_of
from thumbtune.models.transformer_checks import distilled

Config = Mapping[str, Any]

ADDED, SIZES = "text_time", 6  # SDXL adds a pooled text and six sizes to its time; a refiner takes five
OTHER_FAMILIES = ("Kandinsky", "PixArtAlpha", "StableCascade")
PIXELS = 3  # channels of an image
# settings of UNets that need more than a prompt, with the value of those that do not
CONDITIONS = {
    "class_embed_type": None,
    "num_class_embeds": None,
    "encoder_hid_dim_type": None,
    "attention_type": "default",
}
BESIDE = ("scheduler", "safety_checker", "feature_extractor")  # parts of a pipeline that training does without


def is_processor(entry: Any) -> bool:
    """Return whether a part of an index is a processor of texts and images, of which only the tokenizer is needed.

    >>> is_processor(["transformers", "PixtralProcessor"])
    True
    """
    return str(pair(entry)[1]).endswith("Processor")


def check_classes(name: str, index: Config, family: Family, other_vae: bool = False) -> None:
    """Refuse a pipeline whose parts are not those of its family.

    other_vae: whether another VAE takes the place of its own, which may then be of any class or missing

    Raises:
        ThumbtuneError: it is of another family, a refiner, or lacks a part.
    """
    pipeline = str(index.get("_class_name"))
    known = next((other for other in OTHER_FAMILIES if pipeline.startswith(other)), None)
    own = (*family.networks, *family.tokenizers, *BESIDE)
    others = [part for part, entry in index.items() if part[:1] != "_" and part not in own and any(pair(entry))]
    if known or others:
        why = "" if known else f" with {' and '.join(others)}"
        raise ThumbtuneError(
            f"The model {name!r} is a {pipeline}{why}, and {OWN_FAMILIES}; name such a model.",
            code="model-other-family",
        )
    needed = [part for part in (family.denoiser, *family.texts) if part not in family.optional]
    missing = [part for part in needed if not any(pair(index.get(part)))]
    if index.get("requires_aesthetics_score") or (missing == [TEXT] and len(family.texts) > 1):
        raise ThumbtuneError(
            f"The model {name!r} is a refiner of {family.name}, which only repaints the images of its base model; name "
            "the base model.",
            code="model-refiner",
        )
    if missing:
        raise ThumbtuneError(
            f"The model {name!r} is a {pipeline} without {' and '.join(missing)}, which {family.name} has; get the "
            "whole model.",
            code="model-other-family",
        )
    if index.get("is_distilled") is True:
        raise distilled(name, f"is_distilled is true in {INDEX}")
    if not other_vae and not any(pair(index.get(VAE))):
        raise without_vae(name)
    for part, wanted in family.networks.items():
        found = pair(index.get(part))[1]
        if found is not None and found != wanted and not (other_vae and part == VAE):
            raise ThumbtuneError(
                f"The model {name!r} is a {pipeline} whose {part} is a {found} in place of a {wanted}, and "
                f"{OWN_FAMILIES}; name such a model.",
                code="model-other-family",
            )


def without_vae(name: str) -> ThumbtuneError:
    """Return the error for a model that has no VAE, and is given none."""
    return ThumbtuneError(
        f"The model {name!r} has no VAE; set vae=NAME (--vae NAME), which may be a folder, a hub id or a .safetensors "
        "file, or get the whole model.",
        code="model-unloadable",
    )


def check_embeds(name: str, pipeline: str, unet: Config, family: Family) -> None:
    """Refuse a UNet that adds something else to its time than those of the family, such as one of SDXL under SD 1.5."""
    found = unet.get("addition_embed_type")
    if unet and found != family.embeds:
        raise ThumbtuneError(
            f"The UNet of {name!r} is not one of {family.name}, of which {INDEX} names a pipeline ({pipeline}): its "
            f"addition_embed_type is {found} in place of {family.embeds}; take both from one model.",
            code="model-other-family",
        )


def pair(entry: object) -> Sequence[Any]:
    """Return an entry of an index, [library, class]; [None, None] for a part that is not there."""
    return entry if isinstance(entry, list) and len(entry) == 2 else [None, None]  # noqa: PLR2004 - a pair


def checked_size(pipeline: Any, encoders: Sequence[Any]) -> Size:
    """Return the pixels of the images of a loaded pipeline with a UNet.

    Raises:
        ThumbtuneError: as `check_configs` and `size_of`.
    """
    name, unet, vae = str(pipeline.config.get("_name_or_path")), pipeline.unet.config, pipeline.vae.config
    check_configs(name, unet, vae, [encoder.config.to_dict() for encoder in encoders])
    return size_of(name, unet, vae, pipeline.vae_scale_factor)


def check_configs(name: str, unet: Config, vae: Config, texts: Sequence[Config]) -> None:
    """Refuse networks that do not fit each other, or need more than a noisy latent, a time, a prompt and sizes.

    texts: the settings of the text encoders; (): they are not compared

    Raises:
        ThumbtuneError: the channels or the widths differ, or the UNet is one for another task, or for a few steps.
    """
    latent, takes, gives = vae.get("latent_channels", 4), unet.get("in_channels", 4), unet.get("out_channels", 4)
    if vae and unet and (takes != latent or gives != latent):
        raise ThumbtuneError(
            f"The UNet of {name!r} takes {takes} channels and gives {gives}, but its VAE has {latent}: {_task(takes)} "
            "cannot be trained on images and their prompts, so name a text-to-image model.",
            code="model-channels",
        )
    for what, pixels in (("takes", vae.get("in_channels", PIXELS)), ("gives", vae.get("out_channels", PIXELS))):
        if pixels != PIXELS:
            raise ThumbtuneError(
                f"The VAE of {name!r} {what} {pixels} channels, and an image has {PIXELS}; name a model whose images "
                "are plain ones.",
                code="model-channels",
            )
    for option, usual in CONDITIONS.items():
        if unet.get(option) not in (None, usual):
            raise ThumbtuneError(
                f"The UNet of {name!r} needs more than a prompt ({option} is {unet[option]}), which Thumbtune does not "
                "give it; name a text-to-image model.",
                code="model-other-condition",
            )
    if unet.get("time_cond_proj_dim") is not None:
        raise ThumbtuneError(
            f"The UNet of {name!r} is distilled to draw in a few steps, as a latent consistency model "
            f"(time_cond_proj_dim is {unet['time_cond_proj_dim']}), which training would undo; name the model that it "
            "was made from.",
            code="model-distilled",
        )
    if texts:
        _check_widths(name, unet, texts)


def _check_widths(name: str, unet: Config, texts: Sequence[Config]) -> None:
    """Refuse text encoders whose numbers the UNet does not take."""
    widths = [text.get("hidden_size") for text in texts]
    asked = unet.get("cross_attention_dim")
    asked = {asked} if isinstance(asked, int) else set(asked or ())
    who = "text encoder" if len(texts) == 1 else "text encoders"
    gives = "gives" if len(texts) == 1 else "give"
    if all(isinstance(width, int) for width in widths) and asked and asked != {sum(widths)}:  # type: ignore[arg-type]
        raise ThumbtuneError(
            f"The {who} of {name!r} {gives} {' + '.join(map(str, widths))} numbers for each token, but its UNet takes "
            f"{', '.join(map(str, sorted(asked)))}; take both from one model.",
            code="model-text-width",
        )
    pooled, sized = texts[-1].get("projection_dim"), unet.get("addition_time_embed_dim")
    whole = unet.get("projection_class_embeddings_input_dim")
    if unet.get("addition_embed_type") == ADDED and None not in (pooled, sized, whole):
        numbers, rest = divmod(whole - pooled, sized)  # type: ignore[operator]
        if (numbers, rest) != (SIZES, 0):
            raise ThumbtuneError(
                f"The UNet of {name!r} takes {whole} numbers of its text and its sizes, but {SIZES} sizes of {sized} "
                f"and a text of {pooled} are {SIZES * sized + pooled}: it is a refiner, or of another "  # type: ignore[operator]
                "model; name a base model whose parts belong together.",
                code="model-text-width",
            )


def _task(channels: object) -> str:
    """Return what a UNet with more input channels is for."""
    tasks = {9: "a model for inpainting", 8: "a model for edits, such as InstructPix2Pix", 7: "an upscaler"}
    tasks[5] = "a model that is guided by depth"
    named = tasks.get(channels) if isinstance(channels, int) else None
    return named or "a model for inpainting, edits or another task"
