"""Load a pipeline of any family from a folder, a checkpoint in one file, or the hub."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from thumbtune import hub
from thumbtune.errors import ThumbtuneError, note
from thumbtune.hub import INDEX
from thumbtune.models import single_file
from thumbtune.models.bars import without_bars
from thumbtune.models.families import family_of
from thumbtune.models.family import VAE, Family
from thumbtune.models.fitting import is_processor, pair
from thumbtune.models.model_options import PLAIN, SHORT, ModelOptions, scheduler_with
from thumbtune.models.own_vae import load_vae
from thumbtune.models.pipeline_files import check_pipeline, index_of, own_vae_of
from thumbtune.models.told_prediction import prediction_note
from thumbtune.models.weight_files import is_checkpoint, stored_type
from thumbtune.models.whole_folder import check_whole

IN_16_BITS = {"BF16": torch.bfloat16, "F16": torch.float16}  # as the headers of files name them


def load_pipeline(name: str, dtype: torch.dtype | None = torch.float32, options: ModelOptions = PLAIN) -> Any:
    """Return the pipeline of a folder, a checkpoint file or a hub id; weights from safetensors only.

    A note tells if an option contradicts the model's files.

    dtype: of the weights; None: float32, but for each network that is stored in 16 bits, which stays as it is stored

    Raises:
        ThumbtuneError: the model does not exist, cannot be reached, or is of another family or for another task; or
            an option does not fit it.
    """
    with without_bars():
        pipeline = _loaded(name, dtype, options)
    if (sentence := prediction_note(name, options)) is not None:
        note(sentence)
    pipeline.register_modules(scheduler=scheduler_with(pipeline.scheduler, options, name))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def type_for(half: torch.dtype | None) -> torch.dtype | None:
    """Return the `dtype` of a model that is to compute in `half`: as it is stored; without one, float32."""
    return torch.float32 if half is None else None


def _loaded(name: str, dtype: torch.dtype | None, options: ModelOptions) -> Any:
    import diffusers
    from diffusers.utils import logging
    from transformers import AutoTokenizer

    logging.disable_progress_bar()  # five bars, each gone too soon to read
    variant = check_pipeline(name, options)
    index = index_of(name) or {}
    family = family_of(index.get("_class_name"))
    vae = None
    if options.vae is not None:
        vae = load_vae(
            options.vae, own_vae_of(name), torch.float32 if VAE in family.float32 else dtype or torch.float32
        )
        if Path(name).is_file() and Path(options.vae).is_file() and not is_checkpoint(Path(options.vae)):
            _note_scaling(options.vae, name, vae.config["scaling_factor"])
    if Path(name).is_file():
        return single_file.load(Path(name), dtype or torch.float32, SHORT.get(options.prediction or ""), vae)
    if Path(name).is_dir():
        check_whole(Path(name), index, family, variant, () if vae is None else (VAE,))
    chosen: dict[str, Any] = {"variant": variant} if variant else {}
    chosen |= {} if vae is None else {VAE: vae}
    absent = [part for part in family.optional if part in index and not any(pair(index[part]))]
    chosen |= dict.fromkeys(absent)  # diffusers asks for parts that a folder says it lacks
    tokenizers = [part for part in family.tokenizers if is_processor(index.get(part))]
    chosen |= dict.fromkeys(tokenizers)  # a processor needs torchvision, for images that nobody gives it
    if hub.cached_file(name, INDEX) is not None:
        chosen |= hub.only_cached(name)
    kind = getattr(diffusers, family.pipeline)
    try:
        if dtype is None:
            folder = name if Path(name).is_dir() else kind.download(name, use_safetensors=True, **chosen)
            types = {"default": torch.float32, **stored_types(family, Path(folder), variant)}
        else:
            types = _types(family, dtype)
        pipeline = kind.from_pretrained(name, dtype=types, use_safetensors=True, **family.options, **chosen)
        kept = hub.only_cached(name) if hub.cached_file(name, INDEX) is not None else {}
        for part in tokenizers:
            pipeline.register_modules(**{part: AutoTokenizer.from_pretrained(name, subfolder=part, **kept)})
        return pipeline
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ThumbtuneError(
            f"The model {name!r} could not be loaded ({_reason(name, error)}); give a folder in diffusers' layout, "
            "a whole checkpoint in one .safetensors file, a hub id that this machine can reach, or `tiny-emoji-64`.",
            code="model-unloadable",
        ) from error


@lru_cache
def _note_scaling(vae: str, name: str, scaling: float) -> None:
    """Note once for a VAE and a model that neither says how latents are scaled."""
    note(
        f"Neither {vae} nor {name} says how its latents are scaled, so {scaling} of the model's family is taken; with "
        "a VAE of another family every image would be wrong, which a VAE as a folder with its config.json would show."
    )


def _types(family: Family, dtype: torch.dtype) -> Any:
    """Return the precision of a pipeline's parts."""
    if not family.float32 or dtype == torch.float32:
        return dtype
    return {"default": dtype, **dict.fromkeys(family.float32, torch.float32)}


def stored_types(family: Family, folder: Path, variant: str | None = None) -> dict[str, torch.dtype]:
    """Return the type of each network of a folder that is stored in 16 bits and may be loaded so; the VAE may not."""
    types = {}
    for part in family.networks:
        every = [*(folder / part).glob("*.safetensors")]
        files = [file for file in every if variant and f".{variant}" in file.name] or every
        if part not in (VAE, *family.float32) and (found := stored_type(files)) in IN_16_BITS:
            types[part] = IN_16_BITS[found]
    return types


def _reason(name: str, error: Exception) -> str:
    """Return briefly why a model did not load; diffusers reports an unreachable hub as a missing cache."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, LocalEntryNotFoundError):
        return "there is no such folder, and the Hugging Face hub could not be reached"
    if not Path(name).exists() and "not fully cached" in str(error):
        if isinstance(error.__cause__, GatedRepoError):
            return "the Hugging Face hub has it behind a gate: accept its terms there, then log in with `hf auth login`"
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return "there is no such folder, and the Hugging Face hub has none of that name, or a private one"
        return "there is no such folder, and the Hugging Face hub could not be reached"
    return str(error).strip().split("\n")[0][:200]
