"""Make objects from a recipe, one function each. Packages below this one do not know recipes."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from thumbtune import plugins
from thumbtune.distributed import team
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.likes import Split, alike, likes_of, split
from thumbtune.feedback.store.store import Store, is_store
from thumbtune.models import full, lora
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import PipelineModel, Sampler, Tuning
from thumbtune.objective.baselines import BCO, CSFT, DPO, SFT
from thumbtune.objective.beta import Auto, Beta, Fixed
from thumbtune.objective.kto import KTO
from thumbtune.objective.prompt_prefix import PromptPrefixes, prefixed
from thumbtune.objective.protocol import Objective, traits_of
from thumbtune.objective.reference_point import REFERENCE_POINTS, ReferencePoint
from thumbtune.objective.utility import UTILITIES, Utility
from thumbtune.objective.validation import try_objective, try_utility
from thumbtune.runs.lora_about import about, lora_of
from thumbtune.runs.recipe import ObjectiveSection, Recipe, TrainSection
from thumbtune.runs.text_length import cut_prompts
from thumbtune.training.guards import Advice
from thumbtune.training.trainer import Settings

BUNDLED = Path(__file__).parents[1] / "bundled"
MICRO_BATCH_OF_SEVERAL = 2
PER_VOTE = "per-vote"  # the label policy that makes a label of each rater's vote
Precision = Literal["no", "bf16", "fp16"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
RESULTS = {"lora": Path("lora", lora.DIFFUSERS_FILE), "full": Path("unet", full.DIFFUSERS_FILE)}


def model_path(name: str) -> str:
    """Return a bundled model's folder; any other name, a folder or a hub id, unchanged."""
    bundled = BUNDLED / name
    return str(bundled) if name and (bundled / "model_index.json").exists() else name


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


def tuning_of(recipe: Recipe, training: bool = True, about: Callable[[], Mapping[str, str]] = dict) -> Tuning:
    """Return the LoRA or Full() of a recipe. Outside of training, the reference has full precision.

    about: what the headers of a LoRA's files tell of the training
    """
    if recipe.train.weights == "lora":
        return lora_of(recipe, about)
    return full.Full(autocast=HALF.get(precision_of(recipe)) if training else None)


def result_of(recipe: Recipe) -> Path:
    """Return the path of the tuned weights inside a run's folder."""
    return RESULTS[recipe.train.weights]


def model_of(recipe: Recipe, device: Any = "cpu", training: bool = True) -> PipelineModel:
    """Return the base model, prepared for the recipe's training."""
    base = model_path(recipe.model)
    pipeline = load_pipeline(base)
    tuning = tuning_of(recipe, training, partial(about, recipe, pipeline, base))
    return adapter_of(pipeline, tuning, recipe.seed, recipe.train.gradient_checkpointing).to(device)


def objective_of(recipe: Recipe) -> Objective:
    """Return the objective that a recipe names.

    Raises:
        UsageError: it is the user's own, and is missing or not an objective.
    """
    section = _with_a_number(recipe.objective)
    if plugins.is_own(section.name):
        return _own_objective(recipe)
    if section.name == "sft":
        return SFT()
    if section.name == "csft":
        return CSFT()
    if section.name == "bco":
        return BCO(beta=section.beta, anchor=section.anchor)
    if section.name == "dpo":
        return DPO(beta=section.beta, anchor=section.anchor)
    return KTO(
        beta=section.beta,
        utility=utility_of(recipe),
        liked_weight=section.liked_weight,
        disliked_weight=section.disliked_weight,
        anchor=section.anchor,
    )


def _with_a_number(section: ObjectiveSection) -> ObjectiveSection:
    """Return the section with 1.0 for `beta: auto`; `Auto` replaces the number before the first loss."""
    return section.model_copy(update={"beta": 1.0}) if section.beta == "auto" else section


def beta_of(recipe: Recipe, objective: Objective) -> Beta:
    """Return a new rule for beta; Fixed for an objective without a beta, although auto is the default."""
    has_beta = is_dataclass(objective) and "beta" in {field.name for field in fields(objective)}
    return Auto(recipe.objective.gain_scale) if recipe.objective.beta == "auto" and has_beta else Fixed()


def _own_objective(recipe: Recipe) -> Objective:
    """Return a user's objective, with the recipe's values for the fields that it has.

    Raises:
        UsageError: it is not an objective, it fails, or the recipe sets options that it has no field for.
    """
    section = _with_a_number(recipe.objective)
    cls = plugins.load(section.name, "objective.name")
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise UsageError(
            f"objective.name: {section.name} is not a dataclass; write one with `needs` and `__call__`.",
            code="objective-no-dataclass",
        )
    values = section.model_dump(exclude={"name", "reference_point", "gain_scale"}) | {"utility": utility_of(recipe)}
    named = {field.name for field in fields(cls)} & values.keys()
    _refuse_unused(recipe.objective, named)
    try:
        made = cls(**{name: values[name] for name in named})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"objective.name: {section.name} cannot be made ({error}); correct it.", code="objective-not-made"
        ) from error
    if not isinstance(made, Objective):
        raise UsageError(
            f"objective.name: {section.name} lacks `needs` or `__call__`; see docs/own-objective.md.",
            code="objective-incomplete",
        )
    try_objective(made, section.name)
    has_own_share = "disliked" not in made.needs or "pairs" in made.needs
    if has_own_share and recipe.train.liked_share != TrainSection().liked_share:
        raise UsageError(
            f"objective.name: {section.name} has no use for train.liked_share; leave it out.", code="option-unused"
        )
    return made


def _refuse_unused(section: ObjectiveSection, named: set[str]) -> None:
    """Refuse options of a recipe for which a user's objective has no field."""
    used = {"name", "reference_point", *named, *(("gain_scale",) if "beta" in named else ())}
    for option, field in ObjectiveSection.model_fields.items():
        if option not in used and getattr(section, option) != field.default:
            raise UsageError(
                f"objective.name: {section.name} has no use for objective.{option}; leave it out, or give the class a "
                "field for it.",
                code="option-unused",
            )


def utility_of(recipe: Recipe) -> Utility:
    """Return the utility that a recipe names; a user's own is tried on a few gains.

    Raises:
        UsageError: it is the user's own, and is missing or has wrong values or slopes.
    """
    name = recipe.objective.utility
    if not plugins.is_own(name):
        return UTILITIES[name]
    utility = plugins.load(name, "objective.utility")
    try_utility(utility, name)
    return utility


def own_files(recipe: Recipe) -> list[Path]:
    """Return the user's files that a recipe names; a run stores copies of them."""
    named = (recipe.objective.name, recipe.objective.utility)
    return sorted({plugins.file_of(name) for name in named if plugins.is_own(name)})


def reference_point_of(recipe: Recipe) -> ReferencePoint:
    """Return a new estimator of the reference point that a recipe names."""
    return REFERENCE_POINTS[recipe.objective.reference_point]()


def advice_of(recipe: Recipe) -> Advice:
    """Return the options that guards may advise: those that the recipe's objective uses and does not set already."""
    name, auto = recipe.objective.name, recipe.objective.beta == "auto"
    stay_close = "objective.anchor above 0" if auto else "a higher objective.beta or auto"
    push_less = {
        "kto": "a lower objective.disliked_weight or a higher train.liked_share",
        "dpo": "objective.anchor above 0",
    }.get(name, "a higher train.liked_share")
    return Advice(stay_close="fewer train.steps" if name in {"sft", "csft"} else stay_close, push_less=push_less)


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
    return Sampler(steps=recipe.evaluate.steps, guidance=recipe.evaluate.guidance)


def split_of(recipe: Recipe, *, keep: bool = True) -> Split:
    """Return the likes of the recipe's store, split by prompt; `keep` as in `likes_of`.

    Raises:
        ThumbtuneError: the store is missing, or has no feedback to train on.
    """
    if not is_store(recipe.likes):
        raise ThumbtuneError(
            f"{recipe.likes} has no likes; import some with `thumbtune import FOLDER --likes {recipe.likes}`.",
            code="likes-missing",
        )
    with Store.open(recipe.likes, create=False) as store:
        likes = likes_of(store, recipe.label_policy, keep=keep)
        # of all images in their order, so that no label policy moves a prompt
        same_as = cut_prompts(model_path(recipe.model), store.prompts(store.newest())).same_as
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
    known = {alike(prompt) for prompt in trained}
    same_as = cut_prompts(model_path(recipe.model), [*sorted(trained), *prompts]).same_as if file else {}
    seen = [prompt for prompt in prompts if alike(same_as.get(prompt, prompt)) in known]
    if seen:
        raise UsageError(
            f"evaluate.prompts: {file} holds {len(seen)} prompts of the training ({seen[0]!r}); take them out.",
            code="evaluate-trained-prompts",
        )
    return prompts


def check_judging(recipe: Recipe, parts: Split) -> list[str]:
    """Check the evaluation before any long work; return the prompts that it will use.

    Raises:
        UsageError: a scorer or the prompts cannot be used.
    """
    check_scorers(recipe)
    return judged_prompts(recipe, set(parts.train["prompt"]), set(parts.held_out["prompt"]))


def liked_share(recipe: Recipe, objective: Objective) -> float:
    """Return the probability that a row is a liked image: 1 for an objective that learns from likes alone."""
    return recipe.train.liked_share if "disliked" in objective.needs else 1.0


def contrasts(objective: Objective) -> bool:
    """Return whether likes are set against dislikes, so that held-out likes should have the higher implicit reward."""
    return "disliked" in objective.needs and traits_of(objective).beta is not None


def prefixes_of(objective: Objective) -> PromptPrefixes | None:
    """Return the prefixes of the prompts of good and of bad images; None for an objective without prefixes."""
    words = traits_of(objective).prompt_prefixes
    return None if words is None else PromptPrefixes(*words)


def good_prefix_of(objective: Objective) -> str | None:
    """Return the prefix of the prompts of good images; None for an objective without prefixes."""
    prefixes = prefixes_of(objective)
    return prefixes.good if prefixes else None


def with_prefix(prefix: str | None, likes: Any) -> Any:
    """Return the likes with the prefix before every prompt; unchanged if it is None."""
    if prefix is None or not len(likes):
        return likes
    prompts = [prefixed(prompt, prefix) for prompt in likes["prompt"]]
    return likes.remove_columns("prompt").add_column("prompt", prompts)
