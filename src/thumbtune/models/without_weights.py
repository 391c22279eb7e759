"""A pipeline of networks that have shapes but no values: what a model would need is known before its weights are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from thumbtune.hub import settings_of
from thumbtune.models.families import family_of
from thumbtune.models.family import CONFIG, UNET, VAE, Family
from thumbtune.models.model_options import PLAIN, SHORT, ModelOptions, scheduler_with
from thumbtune.models.pipeline_files import check_pipeline, index_of, own_vae_of, read_config
from thumbtune.models.single_file import plan_of, tokenizer_of
from thumbtune.models.vae_settings import settings_of as settings_of_vae

SCHEDULER, SCHEDULER_CONFIG = "scheduler", "scheduler_config.json"
FAULTS = (OSError, ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, AttributeError)


def networks_without_weights(name: str, options: ModelOptions = PLAIN) -> dict[str, nn.Module] | None:
    """Return the UNet and the text encoders of a folder or a file with the shapes of their weights, but no values.

    Returns:
        None for a model on the hub, and for a folder or a file that loading will refuse.

    Raises:
        ThumbtuneError: as `check_pipeline`.
    """
    check_pipeline(name, options)
    if not Path(name).exists():
        return None
    family = _family(name)
    configs = _configs(Path(name), (UNET, *family.texts))
    return None if None in configs.values() else _networks(family, configs)  # type: ignore[arg-type]


def pipeline_without_weights(name: str, options: ModelOptions = PLAIN) -> Any | None:
    """Return the pipeline of a folder, a file or a hub id, whose networks are on the device `meta`.

    Returns:
        None for a model that loading will refuse.

    Raises:
        ThumbtuneError: as `check_pipeline`, of a model on the hub too.
    """
    check_pipeline(name, options)
    path = Path(name) if Path(name).exists() else settings_of(name)
    if path is None:
        return None
    import diffusers

    index = index_of(name) or {}
    family = family_of(index.get("_class_name"))
    chosen = None if options.vae is None else settings_of_vae(options.vae, own_vae_of(name))
    configs = _configs(path, (*family.networks, SCHEDULER), SHORT.get(options.prediction or ""), chosen)
    if None in configs.values():
        return None
    scheduler: Any = configs.pop(SCHEDULER)
    networks = _networks(family, configs)  # type: ignore[arg-type]
    if networks is None:
        return None
    others = {"feature_extractor": None, "image_encoder": None, **family.options}
    zeros = index.get("force_zeros_for_empty_prompt")
    others |= {} if zeros is None else {"force_zeros_for_empty_prompt": zeros}
    try:
        made = scheduler_with(getattr(diffusers, scheduler["_class_name"]).from_config(scheduler), options, name)
        tokenizers = {part: _tokenizer(path, part) for part in family.tokenizers}
        pipeline = getattr(diffusers, family.pipeline)(**networks, **tokenizers, scheduler=made, **others)
    except FAULTS:
        return None
    pipeline.register_to_config(_name_or_path=name)
    return pipeline


def _family(name: str) -> Family:
    return family_of((index_of(name) or {}).get("_class_name"))


def _configs(
    path: Path, parts: Sequence[str], prediction: str | None = None, vae: dict[str, Any] | None = None
) -> dict[str, dict[str, Any] | None]:
    """Return the settings of some parts of a folder or a file; None for a part that has none.

    vae: the settings of a VAE in the place of its own
    """
    if path.is_file():
        configs = plan_of(path, prediction, vae).configs
        return {part: configs.get(part) for part in parts}
    found = {part: read_config(path / part / (SCHEDULER_CONFIG if part == SCHEDULER else CONFIG)) for part in parts}
    return found if vae is None else found | {VAE: vae}


def _networks(family: Family, configs: Mapping[str, dict[str, Any]]) -> dict[str, nn.Module] | None:
    import diffusers
    import torch
    import transformers

    networks: dict[str, nn.Module] = {}
    try:
        with torch.device("meta"):
            for part, config in configs.items():
                if part in (UNET, VAE):
                    networks[part] = getattr(diffusers, family.networks[part]).from_config(config)
                else:
                    text = transformers.CLIPTextConfig.from_dict(config)
                    networks[part] = getattr(transformers, family.networks[part])(text)
    except FAULTS:
        return None
    return networks


def _tokenizer(path: Path, part: str) -> Any:
    from transformers import CLIPTokenizer

    return tokenizer_of(path, part) if path.is_file() else CLIPTokenizer.from_pretrained(path, subfolder=part)
