"""A pipeline of networks that have shapes but no values: what a model would need is known before its weights are."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from thumbtune.hub import CONFIG, settings_of
from thumbtune.models.families import family_of
from thumbtune.models.family import SCHEDULER, SCHEDULER_CONFIG, VAE, Family
from thumbtune.models.fitting import is_processor, pair
from thumbtune.models.model_options import PLAIN, SHORT, ModelOptions, scheduler_with
from thumbtune.models.pipeline_files import check_pipeline, index_of, own_vae_of, read_config
from thumbtune.models.single_file import plan_of, tokenizer_of
from thumbtune.models.vae_settings import settings_of as settings_of_vae

CLIP_TOKENIZER = "CLIPTokenizer"
ABSENT = ("feature_extractor", "image_encoder")  # parts that training does without
FAULTS = (OSError, ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, AttributeError, ImportError)


def networks_without_weights(name: str, options: ModelOptions = PLAIN) -> dict[str, nn.Module] | None:
    """Return the trained network and the text encoders of a folder or a file, with shapes of weights but no values.

    Returns:
        None for a model on the hub, and for a folder or a file that loading will refuse.

    Raises:
        ThumbtuneError: as `check_pipeline`.
    """
    check_pipeline(name, options)
    if not Path(name).exists():
        return None
    family = _family(name)
    configs = _configs(Path(name), (*family.denoisers, *family.texts))
    configs = {part: config for part, config in configs.items() if config is not None or part not in family.optional}
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
    absent = [part for part in family.optional if not any(pair(index.get(part)))]
    parts = [part for part in (*family.networks, SCHEDULER) if part not in absent]
    configs = _configs(path, parts, SHORT.get(options.prediction or ""), chosen)
    if None in configs.values():
        return None
    scheduler: Any = configs.pop(SCHEDULER)
    networks = _networks(family, configs)  # type: ignore[arg-type]
    if networks is None:
        return None
    try:
        made = scheduler_with(getattr(diffusers, scheduler["_class_name"]).from_config(scheduler), options, name)
        tokenizers = {part: _tokenizer(path, index, part) for part in family.tokenizers if part not in absent}
        told = {**_told(index, family), **networks, **tokenizers}
        pipeline = getattr(diffusers, family.pipeline)(**told, scheduler=made)
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
                if part not in family.texts:
                    networks[part] = getattr(diffusers, family.networks[part]).from_config(config)
                else:
                    kind = getattr(transformers, family.networks[part])
                    networks[part] = kind(kind.config_class.from_dict(config))
    except FAULTS:
        return None
    return networks


def _tokenizer(path: Path, index: Mapping[str, Any], part: str) -> Any:
    import transformers

    if path.is_file():
        return tokenizer_of(path, part)
    kind = "AutoTokenizer" if is_processor(index.get(part)) else pair(index.get(part))[1] or CLIP_TOKENIZER
    return getattr(transformers, kind).from_pretrained(path, subfolder=part)


def _told(index: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Return what a pipeline is told beside its parts: what its index says, and None for parts that it lacks."""
    import diffusers

    known = signature(getattr(diffusers, family.pipeline).__init__).parameters
    own = (*family.networks, *family.tokenizers, SCHEDULER)
    absent = [name for name in (*family.optional, *ABSENT) if name in known]
    told = {name: value for name, value in index.items() if name in known and name not in own}
    parts = [name for name, value in told.items() if pair(value) is value]
    return {**told, **dict.fromkeys([*absent, *parts]), **family.options}
