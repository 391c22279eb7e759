"""Load a pipeline of any family from a folder, a checkpoint in one file, or the hub."""

from pathlib import Path
from typing import Any

import torch

from thumbtune import hub
from thumbtune.errors import ThumbtuneError
from thumbtune.models import single_file
from thumbtune.models.families import family_of
from thumbtune.models.family import Family
from thumbtune.models.model_options import PLAIN, SHORT, ModelOptions, scheduler_with
from thumbtune.models.own_vae import load_vae
from thumbtune.models.pipeline_files import check_classes, check_pipeline, index_of, variant_of


def load_pipeline(name: str, dtype: torch.dtype = torch.float32, options: ModelOptions = PLAIN) -> Any:
    """Return the pipeline of a folder, a checkpoint file or a hub id; weights from safetensors only.

    Raises:
        ThumbtuneError: the model does not exist, cannot be reached, or is of another family or for another task; or
            an option does not fit it.
    """
    pipeline = _loaded(name, dtype, options)
    pipeline.register_modules(scheduler=scheduler_with(pipeline.scheduler, options, name))
    if options.vae is not None:
        pipeline.register_modules(vae=load_vae(options.vae, pipeline.vae, pipeline.vae.dtype))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _loaded(name: str, dtype: torch.dtype, options: ModelOptions) -> Any:
    import diffusers
    from diffusers.utils import logging

    logging.disable_progress_bar()  # five bars, each gone too soon to read
    variant = check_pipeline(name, options)
    if Path(name).is_file():
        return single_file.load(Path(name), dtype, SHORT.get(options.prediction or ""))
    index = index_of(name) or {}
    family = family_of(index.get("_class_name"))
    if index and not Path(name).is_dir():  # on the hub: before its weights are downloaded
        check_classes(name, index, family)
        parts = list(family.networks)
        variant = variant_of(name, hub.by_folder(hub.files_of(name) or [], parts), family)
    chosen = {"variant": variant} if variant else {}
    try:
        return getattr(diffusers, family.pipeline).from_pretrained(
            name, dtype=_types(family, dtype), use_safetensors=True, **family.options, **chosen
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ThumbtuneError(
            f"The model {name!r} could not be loaded ({_reason(name, error)}); give a folder in diffusers' layout, "
            "a hub id that this machine can reach, or `tiny-emoji-64`.",
            code="model-unloadable",
        ) from error


def _types(family: Family, dtype: torch.dtype) -> Any:
    """Return the precision of a pipeline's parts."""
    if not family.float32 or dtype == torch.float32:
        return dtype
    return {"default": dtype, **dict.fromkeys(family.float32, torch.float32)}


def _reason(name: str, error: Exception) -> str:
    """Return briefly why a model did not load; diffusers reports an unreachable hub as a missing cache."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if not Path(name).exists() and "not fully cached" in str(error):
        if isinstance(error.__cause__, GatedRepoError):
            return "the Hugging Face hub has it behind a gate: accept its terms there, then log in with `hf auth login`"
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return "there is no such folder, and the Hugging Face hub has none of that name, or a private one"
        return "there is no such folder, and the Hugging Face hub could not be reached"
    return str(error).strip().split("\n")[0][:200]
