"""The LoRA of a recipe, and what its headers tell of base and training under the names that sd-scripts has for it."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from thumbtune import plugins
from thumbtune.errors import UsageError
from thumbtune.files import file_sha256
from thumbtune.models import lora_start
from thumbtune.models.families import adapter_class_of, family_of
from thumbtune.models.family import UNET, Family
from thumbtune.models.lora import LoRA
from thumbtune.models.lora_header import SPEC, base_facts, transformer_facts
from thumbtune.models.pipeline_files import VARIANTS
from thumbtune.models.protocol import Tuning
from thumbtune.runs.recipe import Recipe
from thumbtune.sides import height_and_width

WEIGHTS = "diffusion_pytorch_model"
OPTIMIZERS = {"adamw": "torch.optim.adamw.AdamW", "adamw-8bit": "bitsandbytes.optim.adamw.AdamW8bit"}
LEGACY_BEGIN, LEGACY_SIZE = 0x100000, 0x10000  # the part of a file that A1111's first hash is of


def lora_of(recipe: Recipe, pipeline: Any, about: Callable[[], Mapping[str, str]], training: bool = True) -> Tuning:
    """Return the LoRA of a recipe; `about` is what the headers of its files tell. Training alone quantises the base.

    One to begin from changes the text encoders of the pipeline, if it has layers for them.

    Raises:
        ThumbtuneError: the LoRA to begin from cannot be read, or does not fit.
    """
    section, bits = recipe.lora, recipe.train.quantize_base
    quantize = bits if training and bits != "no" else None
    if section.start is not None:
        begun = lora_start.begin(pipeline, lora_start.files_of(Path(section.start)), recipe.model)
        return replace(begun, quantize=quantize, about=about, is_reference=section.reference == "last")
    own = {**section.model_dump(exclude={"start", "reference"}), "targets": _targets(section.targets, pipeline)}
    return LoRA(**own, quantize=quantize, about=about)


def _targets(name: str, pipeline: Any) -> tuple[str, ...]:
    """Return the layers of a set.

    Raises:
        UsageError: the family of the pipeline has no such set.
    """
    family = family_of(type(pipeline).__name__)
    if name not in family.targets:
        raise UsageError(
            f"lora.targets is {name}, but {family.name} has {' and '.join(family.targets)} only; choose one of them.",
            code="lora-no-such-targets",
        )
    return family.targets[name]


def about(recipe: Recipe, pipeline: Any, base: str) -> dict[str, str]:
    """Return the facts of a training for the headers of its files.

    This reads all weights of the base's trained network, for their hash.

    base: the folder, file or hub id that the pipeline was loaded from
    """
    adapter = adapter_class_of(type(pipeline).__name__)
    size = height_and_width(recipe.train.size or adapter.size_in(pipeline))
    name, method, train = name_of(base), method_of(recipe), recipe.train
    begun = "" if recipe.lora.start is None else f", begun from {name_of(recipe.lora.start)}"
    facts = _of_base(pipeline, adapter.family, size) | {
        f"{SPEC}.title": f"{name} tuned with {method}",
        f"{SPEC}.description": f"A LoRA for {name}, tuned by Thumbtune on likes and dislikes with {method}{begun}.",
        f"{SPEC}.tags": "thumbtune, preference",
        "ss_sd_model_name": name,
        "ss_training_comment": f"Thumbtune: {method}",
    }
    numbers: dict[str, Any] = {
        "ss_steps": train.steps,
        "ss_max_train_steps": train.steps,
        "ss_learning_rate": train.lr,
        "ss_unet_lr": train.lr,
        "ss_lr_warmup_steps": train.warmup,
        "ss_lr_scheduler": "linear" if train.cooldown else "constant_with_warmup",
        "ss_total_batch_size": train.batch,
        "ss_max_grad_norm": train.max_grad_norm,
        "ss_optimizer": f"{OPTIMIZERS[train.optimizer]}(weight_decay={train.weight_decay})",
        "ss_mixed_precision": train.precision,
        "ss_seed": recipe.seed,
    }
    if recipe.prompts.clip_skip is not None:
        numbers["ss_clip_skip"] = recipe.prompts.clip_skip
    return facts | {key: str(value) for key, value in numbers.items()} | _hashes(base, adapter.family.denoiser)


def _of_base(pipeline: Any, family: Family, size: tuple[int, int]) -> dict[str, str]:
    if family.denoiser == UNET:
        return base_facts(pipeline.unet.config, pipeline.scheduler.config.get("prediction_type"), size, "/lora")
    return transformer_facts(family.architecture, size)


def name_of(base: str) -> str:
    """Return the name of a base that others may know: of a folder or a file the last part of its path, else itself.

    >>> name_of("stable-diffusion-v1-5/stable-diffusion-v1-5")
    'stable-diffusion-v1-5/stable-diffusion-v1-5'
    """
    path = Path(base)
    is_path = path.exists() or path.is_absolute() or base.count("/") != 1 or base.startswith((".", "~"))
    return os.path.basename(os.path.abspath(base)) if is_path else base


def method_of(recipe: Recipe) -> str:
    """Return the objective, its beta and the unit of that; of an own objective no name, which begins with a path."""
    objective = recipe.objective
    if plugins.is_own(objective.name):
        return "an objective of one's own"
    names = {"kto": "Diffusion-KTO", "dpo": "Diffusion-DPO", "nft": "DiffusionNFT, offline"}
    if objective.name in ("sft", "csft"):
        return objective.name.upper()
    strength = f"mix {objective.mix:g}" if objective.name == "nft" else f"beta {objective.beta}"
    if objective.log_ratio != "absolute":  # in whose unit beta is
        strength += f", {objective.log_ratio} log-ratios"
    return f"{names.get(objective.name, objective.name.upper())} ({strength})"


def _hashes(base: str, part: str) -> dict[str, str]:
    """Return the hashes of the base's file, or of the trained network's in a folder; nothing if no file is here."""
    file = _file_of(base, part)
    if file is None:
        return {}
    with file.open("rb") as opened:
        opened.seek(LEGACY_BEGIN)
        legacy = hashlib.sha256(opened.read(LEGACY_SIZE)).hexdigest()[:8]
    return {"ss_sd_model_hash": legacy, "ss_new_sd_model_hash": file_sha256(file)}


def _file_of(base: str, part: str) -> Path | None:
    """Return the file whose hash names a base: a checkpoint in one file, or the weights of its trained network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(base).is_file():
        return Path(base)
    names = [f"{part}/{WEIGHTS}{variant}.safetensors" for variant in ("", *(f".{one}" for one in VARIANTS))]
    if Path(base).is_dir():
        return next((Path(base) / name for name in names if (Path(base) / name).is_file()), None)
    try:
        cached = (try_to_load_from_cache(base, name) for name in names)
        return next((Path(file) for file in cached if isinstance(file, str)), None)
    except HFValidationError:
        return None
