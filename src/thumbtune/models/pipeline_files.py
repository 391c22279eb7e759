"""What a pipeline's folder or file holds, read before any weights: can it be loaded, tuned and judged?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thumbtune.documents import read_config
from thumbtune.errors import ThumbtuneError
from thumbtune.hub import cached_file, settings_file
from thumbtune.models.families import family_of
from thumbtune.models.family import CONFIG, INDEX, TEXT, TEXT_2, TRANSFORMER, UNET, VAE, Family
from thumbtune.models.lora import DIFFUSERS_FILE
from thumbtune.models.lora_files import PEFT_FILE
from thumbtune.models.model_options import PLAIN, SHORT, ModelOptions
from thumbtune.models.single_file import plan_of, refuse_untold
from thumbtune.models.sizes import size_of, square
from thumbtune.models.unet_checks import ADDED, check_configs, check_embeds
from thumbtune.models.weight_files import OTHER_FILES, OWN_FORMS, SAFETENSORS, is_checkpoint, refuse_as_model

Config = Mapping[str, Any]

WEIGHTS, TEXT_WEIGHTS = "diffusion_pytorch_model", "model"
OTHER_PARTS = (TRANSFORMER, TEXT_2, "text_encoder_3", "prior", "decoder", "image_encoder")
OTHER_FAMILIES = ("Kandinsky", "StableCascade")
VARIANTS = ("fp16", "bf16")  # preferred in this order; any other one is taken if it is alone
MAX_NAMED = 3


def check_pipeline(name: str, options: ModelOptions = PLAIN) -> str | None:
    """Return the variant of a folder's weights, such as fp16; None for plain weights, and for a name on the hub.

    Raises:
        ThumbtuneError: it is a file, of another family, for another task, or only has weights that are not read.
    """
    folder = Path(name)
    if folder.is_file():
        _check_single_file(name, options)
    if not folder.is_dir():
        return None
    index = read_config(folder / INDEX)
    if index is None:
        if not (folder / INDEX).exists():
            _refuse_no_pipeline(folder)
        return None
    family = family_of(index.get("_class_name"))
    check_classes(name, index, family)
    unet, vae = (read_config(folder / part / CONFIG) or {} for part in (UNET, VAE))
    check_embeds(name, str(index.get("_class_name")), unet, family)
    check_configs(name, unet, vae, [read_config(folder / part / CONFIG) or {} for part in family.texts])
    if unet and vae:
        if "sample_size" in vae:  # diffusers cannot load a VAE with null
            square(name, vae["sample_size"], VAE)
        size_of(name, unet, vae, 2 ** (len(vae.get("block_out_channels") or "1") - 1))
    files = {part: [file.name for file in (folder / part).glob("*") if file.is_file()] for part in family.networks}
    return variant_of(name, files, family)


def factor_of(name: str) -> int | None:
    """Return the pixels to a side of one of a latent's; None if the settings of the VAE are not on this machine."""
    path = Path(name)
    if path.is_file():
        vae = plan_of(path).configs[VAE] if is_checkpoint(path) else None
    elif path.is_dir():
        vae = read_config(path / VAE / CONFIG)
    else:
        cached = cached_file(name, f"{VAE}/{CONFIG}")
        vae = None if cached is None else read_config(cached)
    channels = None if vae is None else vae.get("block_out_channels")
    return 2 ** (len(channels) - 1) if isinstance(channels, list | tuple) and channels else None


def index_of(name: str) -> dict[str, Any] | None:
    """Return the model_index.json of a folder or a hub id, and of a checkpoint its class; None if it cannot be read."""
    if Path(name).is_dir():
        return read_config(Path(name) / INDEX)
    if Path(name).is_file():
        return {"_class_name": plan_of(Path(name)).pipeline}
    file = settings_file(name, INDEX)
    return None if file is None else read_config(file)


def _check_single_file(name: str, options: ModelOptions) -> None:
    if not is_checkpoint(Path(name)):
        refuse_as_model(Path(name))
    plan = plan_of(Path(name), SHORT.get(options.prediction or ""))
    refuse_untold(Path(name), plan)
    texts = [plan.configs[part] for part in family_of(plan.pipeline).texts]
    check_configs(name, plan.configs[UNET], plan.configs[VAE], texts)


def check_classes(name: str, index: Config, family: Family) -> None:
    """Refuse a pipeline whose parts are not those of its family.

    Raises:
        ThumbtuneError: it is of another family, a refiner, or lacks a part.
    """
    pipeline = str(index.get("_class_name"))
    known = next((other for other in OTHER_FAMILIES if pipeline.startswith(other)), None)
    others = [part for part in OTHER_PARTS if part not in family.networks and any(_pair(index.get(part)))]
    if known or others:
        why = "" if known else f" with {' and '.join(others)}"
        raise ThumbtuneError(
            f"The model {name!r} is a {pipeline}{why}, and {OWN_FORMS}; name such a model.", code="model-other-family"
        )
    needed = [part for part in family.texts if part not in family.optional]
    missing = [part for part in needed if len(needed) > 1 and not any(_pair(index.get(part)))]
    if index.get("requires_aesthetics_score") or missing == [TEXT]:
        raise ThumbtuneError(
            f"The model {name!r} is a refiner of {family.name}, which only repaints the images of its base model; name "
            "the base model.",
            code="model-refiner",
        )
    if missing:
        raise ThumbtuneError(
            f"The model {name!r} is a {pipeline} without {' and '.join(missing)}, and {family.name} has both; get the "
            "whole model.",
            code="model-other-family",
        )
    for part, wanted in family.networks.items():
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


def few_steps_note(name: str) -> str | None:
    """Return a sentence on an SDXL folder whose scheduler is set up to draw in a few steps; None for any other model.

    Turbo and Lightning models begin at the last time of all (`trailing`). So do models whose last step is pure noise,
    which are not distilled. Of other families the scheduler tells too little.
    """
    if family_of((read_config(Path(name) / INDEX) or {}).get("_class_name")).embeds != ADDED:
        return None
    scheduler = read_config(Path(name) / "scheduler" / "scheduler_config.json") or {}
    kind, trailing = scheduler.get("_class_name"), scheduler.get("timestep_spacing") == "trailing"
    if kind != "LCMScheduler" and (not trailing or scheduler.get("rescale_betas_zero_snr")):
        return None
    why = kind if kind == "LCMScheduler" else "its timestep_spacing is trailing"
    return (
        f"The scheduler of {name} is set up to draw in a few steps ({why}), as those of Turbo and Lightning models; "
        "training makes such a model forget how, so train the model that it was made from, and use the LoRA on both."
    )


def variant_of(where: str, files: Mapping[str, Sequence[str]], family: Family) -> str | None:
    """Return the variant in which the weights are there, such as fp16, if any part has no plain ones.

    Args:
        where: the folder or the name of the model.
        files: the names of the files of each part.

    Raises:
        ThumbtuneError: a part has weights, but none in safetensors; or several variants, and none is preferred.
    """
    found: set[str] | None = None
    for part in family.networks:
        stem = TEXT_WEIGHTS if part in family.texts else WEIGHTS
        names = files.get(part, ())
        tensors = [name.removeprefix(stem) for name in names if name.startswith(stem) and name.endswith(SAFETENSORS)]
        plain = SAFETENSORS in tensors or f"{stem}{SAFETENSORS}.index.json" in names
        if plain or not names:
            continue
        variants = {name.split(".")[1].split("-")[0] for name in tensors if name.count(".") == 2}  # noqa: PLR2004
        if not variants:
            _refuse_unread_weights(Path(where) / part, names)
        found = variants if found is None else found & variants
    if not found:
        return None
    chosen = next((variant for variant in VARIANTS if variant in found), None)
    if chosen is None and len(found) > 1:
        raise ThumbtuneError(
            f"The weights of {where!r} are there as {' and '.join(sorted(found))}, but not as plain safetensors; "
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
