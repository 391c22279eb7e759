"""What a pipeline's folder, file or hub id holds, read before any weights: can it be loaded, tuned and judged?"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thumbtune.documents import read_config
from thumbtune.errors import ThumbtuneError
from thumbtune.hub import CONFIG, INDEX, by_folder, cached_file, files_of, settings_file, settings_of
from thumbtune.models import vae_settings
from thumbtune.models.distilled_names import name_note, names_in
from thumbtune.models.families import adapter_class_of, family_of
from thumbtune.models.family import SCHEDULER, SCHEDULER_CONFIG, UNET, VAE, Family
from thumbtune.models.fitting import ADDED, Config, check_classes, check_configs, check_embeds, pair, without_vae
from thumbtune.models.lora import DIFFUSERS_FILE
from thumbtune.models.lora_files import PEFT_FILE
from thumbtune.models.missing import refuse_missing_model
from thumbtune.models.model_options import PLAIN, SHORT, ModelOptions
from thumbtune.models.noise_levels import NoiseLevels, refused_levels
from thumbtune.models.schedulers import is_flow
from thumbtune.models.single_file import plan_of, refuse_untold, refuse_without_vae
from thumbtune.models.sizes import longest_side, size_of, square
from thumbtune.models.vae_settings import OwnVae
from thumbtune.models.weight_files import CKPT, OTHER_FILES, SAFETENSORS, is_checkpoint, refuse_as_model, use_of_lora

WEIGHTS, TEXT_WEIGHTS = "diffusion_pytorch_model", "model"
UNREAD = (".bin", ".pt", CKPT, *OTHER_FILES)  # how files of weights end that are not read
WEIGHTS_END = (SAFETENSORS, f"{SAFETENSORS}.index.json", *UNREAD)
PLAIN_FILE = re.compile(r"(-\d+-of-\d+)?\.safetensors")  # how the name of a file of plain weights ends
VARIANTS = ("fp16", "bf16")  # preferred in this order; any other one is taken if it is alone
MAX_NAMED = 3


def check_pipeline(name: str, options: ModelOptions = PLAIN) -> str | None:
    """Return the variant of a model's weights, such as fp16; None for plain weights, and for a name that is nowhere.

    Of a model on the hub, the settings and the names of the files alone are asked for.

    Raises:
        ThumbtuneError: it is a path to nothing, no model, of another family, for another task, only has weights that
            are not read, has no VAE, or one whose settings diffusers does not read.
    """
    refuse_missing_model(name)
    if Path(name).is_file():
        _check_single_file(name, options)
    folder = Path(name) if Path(name).is_dir() else settings_of(name)
    if folder is None:
        return None
    index = read_config(folder / INDEX)
    if index is None:
        if not (folder / INDEX).exists():
            _refuse_no_pipeline(folder, name)
        return None
    family = family_of(index.get("_class_name"))
    check_classes(name, index, family, options.vae is not None)
    if family.denoiser != UNET:
        adapter_class_of(index.get("_class_name")).check_settings(name, {INDEX: index, **_settings_of(folder, family)})
    unet = read_config(folder / UNET / CONFIG) or {}
    vae = _vae_of(name, options) or {}
    check_embeds(name, str(index.get("_class_name")), unet, family)
    check_configs(name, unet, vae, [read_config(folder / part / CONFIG) or {} for part in family.texts])
    if unet and vae:
        if "sample_size" in vae:  # diffusers cannot load a VAE with null
            square(name, vae["sample_size"], VAE)
        size_of(name, unet, vae, 2 ** (len(vae.get("block_out_channels") or "1") - 1))
    _check_scaling(name, options, vae, family)
    files = _files_of(name, family)
    if options.vae is not None:
        files.pop(VAE, None)
    elif Path(name).is_dir() and not any(file.endswith(WEIGHTS_END) for file in files[VAE]):
        raise without_vae(name)
    return variant_of(name, files, family)


def _settings_of(folder: Path, family: Family) -> dict[str, Config]:
    """Return the settings of each network and of the scheduler; {} for those that are not there."""
    files = {part: folder / part / CONFIG for part in family.networks}
    files[SCHEDULER] = folder / SCHEDULER / SCHEDULER_CONFIG
    return {part: read_config(file) or {} for part, file in files.items()}


def _files_of(name: str, family: Family) -> dict[str, Sequence[str]]:
    """Return the names of the files of each part with weights; {} if neither the hub nor its cache has the model."""
    if Path(name).is_dir():
        return {
            part: [file.name for file in (Path(name) / part).glob("*") if file.is_file()] for part in family.networks
        }
    files = files_of(name)
    return {} if files is None else dict(by_folder(files, list(family.networks)))


def _vae_of(name: str, options: ModelOptions) -> Config | None:
    """Return the settings of the VAE that a model is used with; None if they are nowhere."""
    return vae_config(name) if options.vae is None else vae_settings.settings_of(options.vae, own_vae_of(name))


def vae_config(name: str) -> Config | None:
    """Return the settings of a model's own VAE; None if it has none, or none that are on this machine."""
    path = Path(name)
    if not path.is_file():
        place = f"{VAE}/{CONFIG}"
        file = path / place if path.is_dir() else cached_file(name, place)
        return None if file is None else read_config(file)
    plan = plan_of(path) if is_checkpoint(path) else None
    return plan.configs[VAE] if plan is not None and plan.has_vae else None


def own_vae_of(name: str) -> OwnVae:
    """Return what is known of the VAE of a folder, a file or a hub id."""
    if Path(name).is_file():
        plan = plan_of(Path(name))
        return OwnVae(plan.configs[VAE], is_there=plan.has_vae, is_scaled=False)
    index = index_of(name) or {}
    config = vae_config(name) if any(pair(index.get(VAE))) else None
    return vae_settings.own_of(config, family_of(index.get("_class_name")).scaling)


def units_of(name: str) -> tuple[int, int] | None:
    """Return the pixels of which the sides of a model's images are multiples, in training and in drawing.

    Returns:
        None if the settings of the VAE are not on this machine.
    """
    factor = factor_of(name)
    return None if factor is None else adapter_class_of((index_of(name) or {}).get("_class_name")).units_of(factor)


def longest_of(name: str) -> int | None:
    """Return the longest side in pixels for which a model's network has positions.

    Returns:
        None for a network without a table of them, and if its settings are not on this machine.
    """
    adapter = adapter_class_of((index_of(name) or {}).get("_class_name"))
    factor, settings = factor_of(name), f"{adapter.family.denoiser}/{CONFIG}"
    if factor is None or Path(name).is_file():
        return None
    file = Path(name) / settings if Path(name).is_dir() else cached_file(name, settings)
    config = (None if file is None else read_config(file)) or {}
    return longest_side(adapter.positions_in(config), factor * adapter.patch)


def factor_of(name: str) -> int | None:
    """Return the pixels to a side of one of a latent's; None if the settings of the VAE are not on this machine."""
    vae = vae_config(name)
    return None if vae is None else adapter_class_of((index_of(name) or {}).get("_class_name")).factor_in(vae)


def index_of(name: str) -> dict[str, Any] | None:
    """Return the model_index.json of a folder or a hub id, and of a checkpoint its class; None if it cannot be read.

    Raises:
        ThumbtuneError: it is a path to nothing, or a file that is no checkpoint.
    """
    refuse_missing_model(name)
    if Path(name).is_dir():
        return read_config(Path(name) / INDEX)
    if Path(name).is_file():
        return {"_class_name": plan_of(Path(name)).pipeline}
    file = settings_file(name, INDEX)
    return None if file is None else read_config(file)


def _check_single_file(name: str, options: ModelOptions) -> None:
    plan = plan_of(Path(name), SHORT.get(options.prediction or ""))
    refuse_untold(Path(name), plan)
    if options.vae is None:
        refuse_without_vae(Path(name), plan)
    texts = [plan.configs[part] for part in family_of(plan.pipeline).texts]
    vae = _vae_of(name, options) or {}
    check_configs(name, plan.configs[UNET], vae, texts)
    _check_scaling(name, options, vae, family_of(plan.pipeline))


def _check_scaling(name: str, options: ModelOptions, vae: Config, family: Family) -> None:
    """Refuse how a VAE scales its latents if diffusers would not do so; a file has the settings of the model's own."""
    if family.denoiser != UNET:  # pipelines of transformers read them all
        return
    own = options.vae is None or Path(options.vae).is_file()
    whose = f"The VAE of {name}" if own else f"vae: {options.vae}"
    vae_settings.refuse_unread(whose, vae, family.pipeline, family.moments)


def scheduler_of(name: str) -> dict[str, Any] | None:
    """Return the settings of the scheduler of a folder or a hub id; None of a file, and if they cannot be read."""
    if Path(name).is_file():
        return None
    settings = f"{SCHEDULER}/{SCHEDULER_CONFIG}"
    file = Path(name) / settings if Path(name).is_dir() else settings_file(name, settings)
    return None if file is None else read_config(file)


def check_noise_levels(name: str, levels: NoiseLevels) -> None:
    """Refuse noise levels that a model does not have, before its weights are loaded; loading does so in any case.

    Raises:
        UsageError: one of the options is of rectified flow, and the model's scheduler is not.
    """
    option = levels.flow_only()
    if option is None:
        return
    config = scheduler_of(name)
    if Path(name).is_file() or (config is not None and not is_flow(config)):
        raise refused_levels(option, name)


def few_steps_note(name: str) -> str | None:
    """Return a sentence on an SDXL model whose scheduler is set up to draw in a few steps; None for any other one.

    Turbo and Lightning models begin at the last time of all (`trailing`). So do models whose last step is pure noise,
    which are not distilled. Of other families the scheduler tells too little.
    """
    if Path(name).is_file() or family_of((index_of(name) or {}).get("_class_name")).embeds != ADDED:
        return None
    scheduler = scheduler_of(name) or {}
    kind, trailing = scheduler.get("_class_name"), scheduler.get("timestep_spacing") == "trailing"
    if kind != "LCMScheduler" and (not trailing or scheduler.get("rescale_betas_zero_snr")):
        return None
    why = kind if kind == "LCMScheduler" else "its timestep_spacing is trailing"
    return (
        f"The scheduler of {name} is set up to draw in a few steps ({why}), as those of Turbo and Lightning models; "
        "training makes such a model forget how, so train the model that it was made from, and use the LoRA on both."
    )


def distilled_note(name: str) -> str | None:
    """Return a sentence on a model that may be distilled, by its scheduler or by its names; None for any other one."""
    if (by_scheduler := few_steps_note(name)) is not None:
        return by_scheduler
    if Path(name).is_file():
        return name_note(name)
    part = family_of((index_of(name) or {}).get("_class_name")).denoiser
    settings = f"{part}/{CONFIG}"
    file = Path(name) / settings if Path(name).is_dir() else settings_file(name, settings)
    return name_note(name, names_in([index_of(name), None if file is None else read_config(file)]))


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
        plain = any(PLAIN_FILE.fullmatch(name) for name in tensors)
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
    here = [name for name in names if name.endswith(UNREAD)]
    if any(name.endswith(".bin") for name in here):
        raise ThumbtuneError(
            f"{folder} has its weights in {', '.join(sorted(here)[:MAX_NAMED])} only, and Thumbtune reads .safetensors "
            "only, since a pickle may run any code; if you trust it, save the model again with "
            "`DiffusionPipeline.from_pretrained(FOLDER, use_safetensors=False).save_pretrained(NEW_FOLDER)` of "
            "diffusers.",
            code="model-bin-only",
        )
    if here:
        raise ThumbtuneError(
            f"{folder} has its weights in {', '.join(sorted(here)[:MAX_NAMED])} only, and Thumbtune reads .safetensors "
            "only; get the model in that form.",
            code="model-bin-only",
        )


def _refuse_no_pipeline(folder: Path, name: str) -> None:
    """Refuse what holds something else than a pipeline, by what it is; leave an unknown one to loading.

    folder: a folder, or that with the settings of a model on the hub
    """
    if (folder / "recipe.yaml").is_file():
        raise ThumbtuneError(
            f"{name} is a run and not a model; name the model that it tuned, or the folder that `thumbtune merge "
            f"{name} FOLDER` writes; a run of a LoRA is trained on with lora.start={name}.",
            code="model-is-run",
        )
    if (folder / DIFFUSERS_FILE).is_file() or (folder / PEFT_FILE).is_file():
        raise ThumbtuneError(f"{name} is a LoRA and not a model; {use_of_lora(name)}.", code="weights-lora-as-model")
    config = read_config(folder / CONFIG)
    if config is not None:
        kind = config.get("_class_name") or " ".join(map(str, config.get("architectures") or ["single network"]))
        raise ThumbtuneError(
            f"{name} is a {kind} alone and not a whole model; name a folder with {INDEX}, in diffusers' layout.",
            code="model-part-alone",
        )
    endings = (SAFETENSORS, CKPT, *OTHER_FILES)
    files = [file for file in sorted(folder.glob("*")) if file.suffix.lower() in endings and file.is_file()]
    if files:
        refuse_as_model(files[0])
