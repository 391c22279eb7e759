"""Make the objective of a recipe, with its beta, its reference point and its prefixes."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from thumbtune import plugins
from thumbtune.errors import UsageError
from thumbtune.objective.baselines import BCO, CSFT, DPO, SFT
from thumbtune.objective.beta import Auto, Beta, Fixed
from thumbtune.objective.kto import KTO
from thumbtune.objective.log_ratio import LOG_RATIOS
from thumbtune.objective.nft import NFT
from thumbtune.objective.prompt_prefix import PromptPrefixes, prefixed
from thumbtune.objective.protocol import Objective, traits_of
from thumbtune.objective.reference_point import REFERENCE_POINTS, ReferencePoint
from thumbtune.objective.utility import UTILITIES, Utility
from thumbtune.objective.validation import try_objective, try_utility
from thumbtune.runs.recipe import ObjectiveSection, Recipe, TrainSection
from thumbtune.training.guards import Advice

WITHOUT_OPTIONS = {"sft": SFT, "csft": CSFT}


def objective_of(recipe: Recipe) -> Objective:
    """Return the objective that a recipe names.

    Raises:
        UsageError: it is the user's own, and is missing or not an objective.
    """
    section = _with_a_number(recipe.objective)
    if plugins.is_own(section.name):
        return _own_objective(recipe)
    if section.name in WITHOUT_OPTIONS:
        return WITHOUT_OPTIONS[section.name]()
    if section.name == "nft":
        return NFT(mix=section.mix)
    if section.name == "bco":
        return BCO(beta=section.beta, anchor=section.anchor)
    if section.name == "dpo":
        return DPO(beta=section.beta, anchor=section.anchor)
    return KTO(
        beta=section.beta,
        utility=utility_of(recipe),
        log_ratio=LOG_RATIOS[section.log_ratio],
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
    values = section.model_dump(exclude={"name", "reference_point", "gain_scale"})
    values |= {"utility": utility_of(recipe), "log_ratio": LOG_RATIOS[section.log_ratio]}
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
    for option in ("liked_share", "disliked_timesteps") if has_own_share else ():
        if getattr(recipe.train, option) != getattr(TrainSection(), option):
            raise UsageError(
                f"objective.name: {section.name} has no use for train.{option}; leave it out.", code="option-unused"
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
    files = [name for name in named if plugins.is_own(name) and not plugins.is_of_program(name)]
    return sorted({plugins.file_of(name) for name in files})


def reference_point_of(recipe: Recipe) -> ReferencePoint:
    """Return a new estimator of the reference point that a recipe names."""
    return REFERENCE_POINTS[recipe.objective.reference_point]()


def advice_of(recipe: Recipe) -> Advice:
    """Return the options that guards may advise: those that the recipe's objective uses and does not set already."""
    name, auto = recipe.objective.name, recipe.objective.beta == "auto"
    stay_close = "objective.anchor above 0" if auto else "a higher objective.beta or auto"
    stay_close = {"sft": "fewer train.steps", "csft": "fewer train.steps", "nft": "a higher objective.mix"}.get(
        name, stay_close
    )
    push_less = {
        "kto": "a lower objective.disliked_weight or a higher train.liked_share",
        "dpo": "objective.anchor above 0",
    }.get(name, "a higher train.liked_share")
    return Advice(stay_close=stay_close, push_less=push_less)


def liked_share(recipe: Recipe, objective: Objective) -> float:
    """Return the probability that a row is a liked image: 1 for an objective that learns from likes alone."""
    return recipe.train.liked_share if "disliked" in objective.needs else 1.0


def contrasts(objective: Objective) -> bool:
    """Return whether likes are set against dislikes, so that held-out likes should have the higher implicit reward."""
    traits = traits_of(objective)
    return "disliked" in objective.needs and (traits.beta is not None if traits.contrasts is None else traits.contrasts)


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
