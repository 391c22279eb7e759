"""Make objects from a recipe, one function each. Packages below this one do not know recipes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from thumbtune import bitsandbytes
from thumbtune.distributed import team
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.likes import Split, alike, split
from thumbtune.hub import INDEX
from thumbtune.models import full, lora, lora_start
from thumbtune.models.block_offload import Offload, offload
from thumbtune.models.drawing import check_clips
from thumbtune.models.families import adapter_of, family_of
from thumbtune.models.family import TRANSFORMER, UNET
from thumbtune.models.half import store
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.missing import BUNDLED
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.noise_levels import NoiseLevels
from thumbtune.models.pipeline_files import check_noise_levels, check_pipeline, index_of
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler, Tuning
from thumbtune.runs.family_defaults import refuse_unknown_family
from thumbtune.runs.feedback_source import labels_of
from thumbtune.runs.image_sizes import check_sizes
from thumbtune.runs.lora_about import about, lora_of
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.text_length import cut_prompts
from thumbtune.runs.values import height_and_width_of
from thumbtune.training.trainer import Settings

MICRO_BATCH_OF_SEVERAL = 2
PER_VOTE = "per-vote"  # the label policy that makes a label of each rater's vote
Precision = Literal["no", "bf16", "fp16"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
LORA_RESULT = Path("lora", lora.DIFFUSERS_FILE)


def model_path(name: str) -> str:
    """Return a bundled model's folder; any other name, a folder or a hub id, unchanged."""
    bundled = BUNDLED / name
    return str(bundled) if name and (bundled / INDEX).exists() else name


def is_bundled(name: str) -> bool:
    """Return whether a name or a path is that of a bundled model."""
    return Path(model_path(name)).resolve().is_relative_to(BUNDLED.resolve())


def precision_of(recipe: Recipe) -> Precision:
    """Return the precision of a recipe; for auto, the one that suits this machine."""
    if recipe.train.precision != "auto":
        return recipe.train.precision
    if team().device.type != "cuda":  # on a CPU bf16 is slower, and Apple's GPUs are not tried
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def micro_batch_of(recipe: Recipe) -> int:
    """Return the number of images in the network at once; for auto, that of the first attempt.

    One process halves it when memory runs out. Several would wait for the one that failed, so they begin with few.
    """
    if recipe.train.micro_batch != "auto":
        return recipe.train.micro_batch
    state = team()
    if state.device.type == "cpu":  # the system ends a process for which memory runs out, without an error
        return 1
    return recipe.train.batch if state.num_processes == 1 else MICRO_BATCH_OF_SEVERAL


def accelerator_of(recipe: Recipe) -> Any:
    """Return an Accelerator on the best device, in the recipe's precision.

    Raises:
        UsageError: the device lacks that precision, this process already used another one, or several processes cannot
            work together.
    """
    from accelerate import Accelerator

    team()
    try:
        return Accelerator(mixed_precision=precision_of(recipe))
    except ValueError as error:  # Accelerate allows one precision per process
        raise UsageError(
            f"train.precision: {precision_of(recipe)} cannot be used here, since this process used another precision "
            "before, or the device lacks it; start a new process, or choose another precision.",
            code="precision-unusable",
        ) from error


def training_accelerator_of(recipe: Recipe) -> Any:
    """Return an Accelerator that can train in the recipe's precision.

    Raises:
        UsageError: as `accelerator_of`; or fp16 without a GPU, where gradients would vanish.
    """
    accelerator = accelerator_of(recipe)
    if precision_of(recipe) == "fp16" and accelerator.scaler is None:
        raise UsageError(
            "train.precision: fp16 needs a GPU, which is missing here; set it to bf16 or no.",
            code="precision-unusable",
        )
    return accelerator


def half_of(recipe: Recipe, precision: Precision | None = None) -> torch.dtype | None:
    """Return the type of a precision, or else of a recipe's; None for float32."""
    return HALF.get(precision or precision_of(recipe))


def tuning_of(
    recipe: Recipe,
    pipeline: Any,
    training: bool = True,
    about: Callable[[], Mapping[str, str]] = dict,
    precision: Precision | None = None,
) -> Tuning:
    """Return the LoRA or Full() of a recipe. Outside of training, the reference has full precision.

    pipeline: the base, whose text encoders may get layers of a LoRA to begin from
    about: what the headers of a LoRA's files tell of the training
    precision: counts in place of the recipe's
    """
    if recipe.train.weights == "lora":
        return lora_of(recipe, pipeline, about, training)
    if training:
        return full.Full(autocast=half_of(recipe, precision))
    return full.Full(first=partial(_weights_of, model_path(recipe.model), options_of(recipe)))


def _weights_of(base: str, options: ModelOptions) -> Mapping[str, torch.Tensor]:
    """Return the weights of a model's denoiser, by name."""
    pipeline = load_pipeline(base, options=options)
    return getattr(pipeline, family_of(type(pipeline).__name__).denoiser).state_dict()


def result_of(recipe: Recipe) -> Path:
    """Return the path of the tuned weights inside a run's folder: a LoRA, or a network in the folder of its part.

    Raises:
        ThumbtuneError: all weights are trained, and the recipe's model is missing.
    """
    if recipe.train.weights == "lora":
        return LORA_RESULT
    index = index_of(model_path(recipe.model)) or {}
    return Path(family_of(index.get("_class_name")).denoiser, full.DIFFUSERS_FILE)


def result_in(folder: Path, recipe: Recipe) -> Path:
    """Return the path of the tuned weights inside a run's folder: those that are there, whether or not the base is."""
    there = [Path(part, full.DIFFUSERS_FILE) for part in (UNET, TRANSFORMER)]
    found = [path for path in there if recipe.train.weights == "full" and (folder / path).is_file()]
    return found[0] if found else result_of(recipe)


def options_of(recipe: Recipe) -> ModelOptions:
    """Return what a recipe says of its model beside the name."""
    return ModelOptions(
        vae=recipe.vae,
        prediction=recipe.prediction,
        zero_terminal_snr=recipe.zero_terminal_snr or None,
        encoding=encoding_of(recipe),
    )


def model_of(
    recipe: Recipe, device: Any = "cpu", training: bool = True, precision: Precision | None = None
) -> LatentDiffusion:
    """Return the base model, prepared for the recipe's training; `precision` counts in place of the recipe's."""
    base = model_path(recipe.model)
    # frozen weights stay as they are stored until they are converted one by one, so that loading takes less memory
    half = half_of(recipe, precision)
    # all trained weights, and the lengths of rows that a DoRA trains, come from values in float32
    is_plain = recipe.train.weights == "lora" and not recipe.lora.dora and recipe.lora.start is None
    dtype = None if half is not None and is_plain else torch.float32
    pipeline = load_pipeline(base, dtype, options_of(recipe))
    tuning = tuning_of(recipe, pipeline, training, partial(about, recipe, pipeline, base))
    checkpointing = recipe.train.gradient_checkpointing
    model = adapter_of(pipeline, tuning, recipe.seed, checkpointing, half)
    offload_blocks(recipe, model)
    check_sizes(recipe, base, (model.trained_unit, model.unit))
    check_clips(model.family, recipe.frames)
    model.read_prompts(encoding_of(recipe))
    model.choose_noise_levels(noise_levels_of(recipe))
    return model.on(device)  # it encodes before the network is needed


def offload_blocks(recipe: Recipe, model: LatentDiffusion) -> Offload | None:
    """Keep blocks of a model where they are, if a recipe asks for it; return what copies their weights.

    Raises:
        UsageError: the model has fewer blocks.
    """
    count = recipe.train.blocks_to_swap
    return offload(model.networks.values(), count) if count else None


def noise_levels_of(recipe: Recipe) -> NoiseLevels:
    """Return how a recipe draws and weighs noise levels."""
    train = recipe.train
    return NoiseLevels(
        density=train.timestep_density,
        logit_mean=train.logit_mean,
        logit_std=train.logit_std,
        mode_scale=train.mode_scale,
        shift=train.timestep_shift,
        weighting=train.timestep_weighting,
    )


def encoding_of(recipe: Recipe) -> PromptEncoding:
    """Return how a recipe's prompts are read."""
    return PromptEncoding(**recipe.prompts.model_dump())


def store_whole(recipe: Recipe, model: LatentDiffusion) -> None:
    """Store a network whose weights were all trained in the type in which it will draw."""
    if recipe.train.weights == "full":
        store((model.network.requires_grad_(False),), model.half)


def check_model(recipe: Recipe) -> None:
    """Refuse a model, a VAE or a LoRA to begin from that cannot be used, before anything is loaded.

    Raises:
        ThumbtuneError: as `check_pipeline`, `check_clips`, `check_noise_levels`, `lora_start.check_start` and
            `refuse_unknown_family`.
    """
    check_pipeline(model_path(recipe.model), options_of(recipe))
    if recipe.frames > 1:
        check_clips(family_of((index_of(model_path(recipe.model)) or {}).get("_class_name")), recipe.frames)
    check_noise_levels(model_path(recipe.model), noise_levels_of(recipe))
    if recipe.lora.start is not None:
        lora_start.check_start(Path(recipe.lora.start))
    refuse_unknown_family(recipe.model_dump(exclude_unset=True))


def check_library(recipe: Recipe) -> None:
    """Refuse options that need a library that is missing, before any long work.

    Raises:
        ThumbtuneError: it names the library and the option.
    """
    if recipe.train.optimizer == "adamw-8bit":
        bitsandbytes.load("train.optimizer=adamw-8bit")
    if recipe.train.quantize_base == "nf4":
        bitsandbytes.load("train.quantize_base=nf4")


def settings_of(recipe: Recipe) -> Settings:
    """Return the options of the optimisation."""
    t = recipe.train
    return Settings(
        steps=t.steps,
        micro_batch=micro_batch_of(recipe),
        halve_parts=t.micro_batch == "auto",
        lr=t.lr,
        warmup=t.warmup,
        cooldown=t.cooldown,
        max_grad_norm=t.max_grad_norm,
        weight_decay=t.weight_decay,
        optimizer=t.optimizer,
        ema=t.ema,
        sync_reference_every=t.sync_reference_every,
    )


def check_scorers(recipe: Recipe) -> None:
    """Refuse scorers of the recipe that do not exist, before any long work.

    Raises:
        UsageError: no scorer has that name, or a user's file does not define it.
    """
    from thumbtune.evaluation.scorers.resolve import LoadOptions, resolve_scorers

    others = [name for name in (recipe.evaluate.faithfulness, recipe.evaluate.safety) if name and name != "none"]
    resolve_scorers([*recipe.evaluate.scorers, *others], LoadOptions(BUNDLED / "judge"))


def sampler_of(recipe: Recipe) -> Sampler:
    """Return the options of generating images for the evaluation."""
    options, size = recipe.evaluate, height_and_width_of(recipe.evaluate.size)
    return Sampler(
        steps=options.steps,
        guidance=options.guidance,
        size=size,
        negative=options.negative_prompt,
        frames=recipe.frames,
    )


def split_of(recipe: Recipe, *, keep: bool = True) -> Split:
    """Return the likes of the recipe's store or event log, split by prompt; `keep` as in `likes_of`.

    Raises:
        ThumbtuneError: the store is missing, or has no feedback to train on.
    """
    with labels_of(recipe.likes, recipe.label_policy, recipe.events.reading(), keep=keep) as (likes, prompts):
        same_as = cut_prompts(model_path(recipe.model), prompts, encoding_of(recipe)).same_as
        parts = split(likes, recipe.train.validation_share, recipe.seed, same_as)
    if not len(parts.train):
        raise ThumbtuneError(
            f"{recipe.likes} has no likes to train on (label_policy {recipe.label_policy}); import some, lower "
            "train.validation_share, or choose another policy.",
            code="likes-none-to-train",
        )
    return parts


def votes_of(recipe: Recipe) -> Any:
    """Return each rater's own votes on the held-out prompts, whatever label the recipe's policy makes of them.

    Raises:
        ThumbtuneError: as `split_of`.
    """
    return split_of(recipe.model_copy(update={"label_policy": PER_VOTE})).held_out


def prompts_in(file: Path) -> list[str]:
    """Return the prompts of a file or a published set, in any form that `duel --prompts` reads, each prompt once.

    Raises:
        UsageError: there is no such file, or it holds no prompts.
    """
    from thumbtune.evaluation.prompts import PROMPT_SETS, load_prompt_set

    if not file.exists() and str(file) not in PROMPT_SETS:
        raise UsageError(
            f"evaluate.prompts: there is no file {file} here; give its path as seen from {Path.cwd()}, with --set.",
            code="evaluate-prompts-missing",
        )
    return list(dict.fromkeys(load_prompt_set(str(file)).prompts))


def judged_prompts(recipe: Recipe, trained: set[str], held_out: set[str]) -> list[str]:
    """Return the prompts of the recipe's file, or else the held-out prompts: no prompt that training sees.

    Raises:
        UsageError: the file is missing or empty, or contains prompts of the training.
    """
    file = recipe.evaluate.prompts
    prompts = prompts_in(file) if file else sorted(held_out - trained)
    if file and (seen := trained_among(recipe, trained, prompts)):
        raise UsageError(
            f"evaluate.prompts: {file} holds {len(seen)} prompts of the training ({seen[0]!r}); take them out.",
            code="evaluate-trained-prompts",
        )
    return prompts


def trained_among(recipe: Recipe, trained: Iterable[str], prompts: Sequence[str]) -> list[str]:
    """Return those prompts that training saw, also where the model reads two that are written differently alike."""
    known = {alike(prompt) for prompt in trained}
    both, encoding = [*sorted(trained), *prompts], encoding_of(recipe)
    same_as = cut_prompts(model_path(recipe.model), both, encoding).same_as
    return [prompt for prompt in prompts if alike(same_as.get(prompt, prompt)) in known]


def check_judging(recipe: Recipe, parts: Split) -> list[str]:
    """Check the evaluation before any long work; return the prompts that it will use.

    Raises:
        UsageError: a scorer or the prompts cannot be used.
    """
    check_scorers(recipe)
    return judged_prompts(recipe, set(parts.train["prompt"]), set(parts.held_out["prompt"]))
