"""The options of a recipe as a form: presets, the few that are shown first, and all of them to search.

A value is the text that `--set` takes, so that the page, a command and a recipe say the same. Presets are short lists
of options that differ from a model's default; the shares of its steps are those of `PRESETS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from thumbtune.errors import UsageError
from thumbtune.feedback.store.votes import check_text
from thumbtune.plugins import is_own
from thumbtune.runs.next_training import next_settings
from thumbtune.runs.recipe import SHIPPED_RECIPES, Recipe, read_recipe, recipe_options, with_settings
from thumbtune.studio.choices import read_choices
from thumbtune.studio.jobs.commands import Place, checked_model
from thumbtune.studio.jobs.pace import Work
from thumbtune.studio.jobs.runs import RECIPE

PresetName = Literal["quick", "standard", "careful"]
FIRST = ("model", "train.steps", "train.lr", "objective.beta", "lora.rank", "label_policy")  # shown without a search
OURS = "likes"  # the studio's own store, which no request changes
BEGUN = ("lora.start", "lora.reference")  # of a training that begins from a run
MAX_VALUE = 2000  # characters
WHERE = "The settings"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A preset: shares of the default number of steps, and a factor of the default learning rate."""

    title: str
    about: str
    steps: float
    lr: float = 1.0
    validations: int = 5
    samples: int = 4


PRESETS: Mapping[PresetName, Preset] = {
    "quick": Preset(title="Quick look", about="Half of the steps: shows whether anything moves.", steps=0.5, samples=3),
    "standard": Preset(title="Standard", about="The defaults of the model, with samples.", steps=1),
    "careful": Preset(
        title="Careful",
        about="Twice the steps at half the learning rate, validated twice as often. Not compared with Standard.",
        steps=2,
        lr=0.5,
        validations=10,
        samples=8,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a recipe: its dotted name, a line of help, its default as text, and its values if they are few."""

    key: str
    help: str
    default: str
    choices: tuple[str, ...] = ()
    first: bool = False


def options_of(recipe: Recipe) -> list[Option]:
    """Return every option but the store, with the values of a recipe as defaults."""
    values = flat(recipe)
    return [
        Option(
            key=key,
            help=str(field.description),
            default=text_of(values[key]),
            choices=_choices(field.annotation),
            first=key in FIRST,
        )
        for key, field in recipe_options().items()
        if key != OURS
    ]


def flat(recipe: Recipe) -> dict[str, Any]:
    """Return the value of every option by its dotted name, as JSON can tell it."""
    data, values = recipe.model_dump(mode="json"), {}
    for key in recipe_options():
        value: Any = data
        for part in key.split("."):
            value = value[part]
        values[key] = value
    return values


def text_of(value: Any) -> str:
    """Return a value as the text that `--set` takes.

    >>> [text_of(value) for value in (0.0005, True, None, "kto", [0.0, 1.0], 1e-7)]
    ['0.0005', 'true', 'null', 'kto', '[0.0, 1.0]', '1.0e-07']
    """
    if isinstance(value, str) and value:
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def _choices(annotation: Any) -> tuple[str, ...]:
    if annotation is bool:
        return ("true", "false")
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def preset_settings(name: PresetName, recipe: Recipe) -> dict[str, str]:
    """Return the options of a preset that differ from the defaults of a model, as texts."""
    preset, train = PRESETS[name], recipe.train
    steps = max(1, round(train.steps * preset.steps))
    wanted = {
        "train.steps": steps,
        "train.warmup": round(train.warmup * preset.steps),
        "train.cooldown": round(train.cooldown * preset.steps),
        "train.lr": train.lr * preset.lr,
        "train.validate_every": max(1, steps // preset.validations) if name != "standard" else train.validate_every,
        "train.sample_every": max(1, steps // preset.samples),
        "train.checkpoint_every": min(train.checkpoint_every, max(1, steps // 2)),  # one half-way, to compare
    }
    values = flat(recipe)
    return {key: text_of(value) for key, value in wanted.items() if value != values[key]}


def chosen_settings(folder: Path, recipe: Recipe) -> dict[str, str]:
    """Return what the owner chose for new trainings, in the studio's folder, where it differs from a recipe."""
    policy = read_choices(folder).label_policy
    return {} if policy in (None, recipe.label_policy) else {"label_policy": policy}


def settings_after(run: Path, reference: Literal["last", "base"]) -> dict[str, str]:
    """Return the settings of the training that begins from a run's LoRA: those of the run that are no defaults.

    Raises:
        ThumbtuneError: its recipe cannot be read, or it has no LoRA.
    """
    recipe = read_recipe(run / RECIPE, [])
    own, usual = flat(recipe), flat(read_recipe(None, [f"model={recipe.model}"]))
    begun = next_settings(recipe, run, reference)
    kept = {key: text_of(value) for key, value in own.items() if value != usual[key] and not key.startswith("lora.")}
    return {key: value for key, value in kept.items() if key != OURS} | {key: begun[key] for key in BEGUN}


def work_of(recipe: Recipe) -> Work:
    """Return what a training does, as far as its pace depends on it."""
    train = recipe.train
    return Work(steps=train.steps, batch=train.batch, model=recipe.model, size=train.size)


def work_in(run: Path) -> Work:
    """Return what the run in a folder does.

    Raises:
        ThumbtuneError: its recipe cannot be read.
    """
    return work_of(read_recipe(run / RECIPE, []))


def usual_steps(model: str) -> int:
    """Return the default number of steps of a model."""
    return read_recipe(None, [f"model={model}"]).train.steps


def base_of(run: Path) -> str:
    """Return the base model of a run, as its recipe names it.

    Raises:
        ThumbtuneError: its recipe cannot be read.
    """
    return read_recipe(run / RECIPE, []).model


def checked_recipe(name: str | None, settings: Mapping[str, str], place: Place) -> Recipe:
    """Return the recipe of a shipped name, or the defaults, with settings; refuse what leads out of the studio's root.

    Raises:
        UsageError: a value cannot be used, names another store, or leads out of the root.
    """
    if name is not None and name not in shipped():
        raise UsageError(f"There is no shipped recipe {name[:64]!r}; choose one of the list.", code="recipe-unreadable")
    if OURS in settings:
        raise UsageError(f"The option {OURS} is the studio's own store here; leave it out.", code="job-other-store")
    for key, value in settings.items():
        check_text(value, brief_key(key))
        _check_place(value, place)
    given = [f"{key}={value}" for key, value in {**settings, OURS: place.store}.items()]
    return read_recipe(Path(name) if name else None, given, where=WHERE)


def brief_key(key: str) -> str:
    """Return the beginning of an option's name, for errors."""
    return key[:64]


def _check_place(value: str, place: Place) -> None:
    """Refuse a value that may name a file or folder outside of the root."""
    for part in value.strip("[]").split(","):
        name = part.strip().strip("'\"")
        name = name.rpartition(":")[0] if is_own(name) and "://" not in name else name
        if any(sign in name for sign in ("/", "\\", "~", "..")):
            checked_model(name, place)


def shipped() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(file.stem for file in SHIPPED_RECIPES.glob("*.yaml"))


def yaml_of(name: str | None, settings: Mapping[str, str], place: Place) -> str:
    """Return settings as a recipe in YAML, with the store; it begins with the shipped recipe that they stand on."""
    data = with_settings({}, [f"{key}={value}" for key, value in {OURS: place.store, **settings}.items()])
    above = f"# stands on the shipped recipe {name}\n" if name else ""
    return above + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
