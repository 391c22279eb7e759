"""A recipe: all options of a run, read from and written to YAML. The files `*_sections` define the options."""

import math
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from thumbtune.documents import DocumentFault, brief, read_text
from thumbtune.errors import UsageError, joined, note, shown
from thumbtune.files import is_there, write_text
from thumbtune.runs import values
from thumbtune.runs.combinations import refuse_combinations
from thumbtune.runs.evaluation_sections import EvaluateSection, GatesSection
from thumbtune.runs.events_section import EventsSection
from thumbtune.runs.family_defaults import Default, defaults_of, family_of, with_defaults, without_defaults_of_auto
from thumbtune.runs.other_names import OURS, advice_on_name, our_name
from thumbtune.runs.prompts_section import PromptsSection
from thumbtune.runs.recipe_sections import (
    FIXED_SHARE,
    OBJECTIVES,
    UNUSED_OPTIONS,
    WHY_NO_WINDOW,
    LoraSection,
    ObjectiveSection,
    Section,
    TrainSection,
)
from thumbtune.runs.renamed import RENAMED, VALUES, as_begun, has_left, new_name, new_value, with_new_names
from thumbtune.yaml_text import YamlFault, parse_yaml

SHIPPED_RECIPES = Path(__file__).parents[1] / "recipes"  # recipes with a name of their own
MAX_RECIPE_BYTES = 1_000_000
LABELS = "likes.parquet"  # of a run


class Recipe(Section):
    """Every option of a run, as `Recipe().train.steps`; make one with `Config(...).recipe()` or from a file."""

    model: Annotated[str, BeforeValidator(values.text_of)] = Field(
        default="tiny-emoji-64",
        description="The base model: a folder in diffusers' layout, a checkpoint in one .safetensors file, a hub id, "
        "or the bundled tiny-emoji-64.",
    )
    vae: Annotated[str | None, AfterValidator(values.home)] = Field(
        default=None,
        description="A VAE in the place of the model's own: a folder, a hub id or a .safetensors file.",
    )
    prediction: Literal["epsilon", "v"] | None = Field(
        default=None,
        description="What the model predicts, if its files do not say it: epsilon (noise) or v. It goes before what "
        "they say. Default: as they say.",
    )
    zero_terminal_snr: bool = Field(
        default=False,
        description="The last step of the noise schedule is pure noise, for a v model that was trained so and whose "
        "files do not say it.",
    )
    frames: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Frames of a clip at most, in training and in generating, for Wan and LTX-Video; a clip gets the "
        "most that the model's VAE can take (docs/clips.md). 1: the first frame, as an image.",
    )
    likes: Annotated[str, BeforeValidator(values.text_of)] = Field(
        default="likes",
        description="The store of likes: a folder or postgresql://user@host/database. Or Parquet files, an event log.",
    )
    events: EventsSection = Field(default_factory=EventsSection)
    label_policy: Annotated[str, AfterValidator(values.label_policy)] = Field(
        default="majority",
        description="The label of an image that several people rated: by majority, unanimous, any-dislike, per-vote "
        "(every vote counts), or rater:NAME (one person's votes).",
    )
    seed: int = Field(default=0, ge=0, description="Seed of all randomness in training.")
    lora: LoraSection = Field(default_factory=LoraSection)
    objective: ObjectiveSection = Field(default_factory=ObjectiveSection)
    prompts: PromptsSection = Field(default_factory=PromptsSection)
    train: TrainSection = Field(default_factory=TrainSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    gates: GatesSection = Field(default_factory=GatesSection)

    @model_validator(mode="before")
    @classmethod
    def _of_the_model(cls, given: Any) -> Any:
        """Set the defaults that depend on the model."""
        if not isinstance(given, dict):
            return given
        plain = {
            name: value.model_dump(exclude_unset=True) if isinstance(value, Section) else value
            for name, value in given.items()
        }
        return with_defaults({**plain, "model": values.text_of(plain["model"])} if "model" in plain else plain)

    @model_validator(mode="after")
    def _refuse_unused_options(self) -> Self:
        if self.train.weights == "full" and self.lora != LoraSection():
            raise values.UnusedOption("train.weights full does not use the options of lora: leave them out")
        refuse_combinations(self.train, self.lora)
        has_no_weight = self.objective.log_ratio == "relative" and not self.objective.anchor
        if has_no_weight and self.train.timestep_weighting != "none":
            raise values.UnusedOption(
                "a train.timestep_weighting cancels in relative log-ratios: leave it out or at none, or set "
                "objective.log_ratio to absolute"
            )
        for option in ("liked_share", "disliked_timesteps"):
            usual = getattr(TrainSection(), option)
            if (name := self.objective.name) in FIXED_SHARE and getattr(self.train, option) != usual:
                why = WHY_NO_WINDOW[name] if option == "disliked_timesteps" else ""
                raise values.UnusedOption(f"{name} does not use train.{option}{why}: leave it out or at {usual}")
        return self


def recipe_options(model: type[BaseModel] = Recipe, prefix: str = "") -> dict[str, Any]:
    """Return the pydantic field of every option by its dotted name."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            fields |= recipe_options(inner, f"{prefix}{name}.")
        else:
            fields[prefix + name] = field
    return fields


def _nearest(key: str) -> str:
    """Return a suggestion: our name of what is meant, or else all names."""
    known = list(recipe_options())
    ours = our_name(key, known)
    if ours is None:
        return f"; the options are {', '.join(known)}."
    return f"; use the option {ours} of `thumbtune train`." if ours.startswith("-") else f"; did you mean {ours}?"


# in place of pydantic's words, by the first part of its name of a fault, as int of int_parsing
PLAIN_WORDS = {
    "path": "should be a path",
    "int": "should be a whole number",
    "int_from": "should be a whole number",
    "float": "should be a number",
    "bool": "should be true or false",
}


def _sentence(first: Any, where: str) -> str:
    key = brief(".".join(map(str, first["loc"])))
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no option {key}{_nearest(key)}"
    if first["type"] == "model_type":
        meant = f"write them below it, or use {OURS[key]}" if key in OURS else "write them below it"
        return f"{where}: {key} is {shown(first['input'])}, but has options of its own; {meant}."
    message = first["msg"].removeprefix("Value error, ")
    message = (message[:1].lower() + message[1:]).removeprefix("input ")
    if (kind := first["type"].rpartition("_")[0]) in PLAIN_WORDS and first["type"] != "int_parsing_size":
        message = PLAIN_WORDS[kind]
    if first["type"] == "value_error" and key not in recipe_options():  # about a section as a whole
        return f"{where}: {message}."
    given = "empty" if first["input"] is None else shown(first["input"])
    return f"{where}: {key or 'the recipe'} is {given}, but {message}."


def nested(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a mapping whose dotted names, such as `train.steps`, are put into their sections.

    Raises:
        UsageError: an option is given in both ways.
    """
    result = {name: value for name, value in data.items() if "." not in str(name)}
    for name, value in data.items():
        section, dot, option = str(name).partition(".")
        if not dot:
            continue
        inside = result.get(section)
        if inside is not None and not isinstance(inside, Mapping):
            result[name] = value  # validation refuses the section, or the name
        elif option in (inside or {}):
            raise UsageError(
                f"{where}: {name} is given twice, as {name} and below {section}; remove one.",
                code="recipe-option-twice",
            )
        else:
            result[section] = {**(inside or {}), option: value}
    return result


def parse_recipe(data: Any, where: str) -> Recipe:
    """Return the recipe that a mapping describes.

    Raises:
        UsageError: it has an unknown option, or a value out of bounds.
    """
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise UsageError(
            f"{where} contains {shown(data)}, but a recipe has lines of `option: value`; write it so.",
            code="recipe-no-mapping",
        )
    try:
        return Recipe.model_validate(with_new_names(nested(data, where), where))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        sentence = _sentence(first, where)
        if first["type"] == "extra_forbidden":
            raise UsageError(sentence, code="recipe-unknown-option") from error
        if isinstance(first.get("ctx", {}).get("error"), values.UnusedOption):
            raise UsageError(sentence, code="option-unused") from error
        raise UsageError(sentence, code="recipe-value") from error


def word_options() -> set[str]:
    """Return the dotted names of the options that are words, old names too: there `no` and 2024 mean what they show."""
    words = {name for name, field in recipe_options().items() if field.annotation not in (int, float, bool, Any)}
    return words | {old for old, new in RENAMED.items() if new in words and old not in VALUES}


def with_settings(data: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Return a nested mapping with `a.b=value` settings put into it, values read as YAML; refuse wrong settings."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(
                f"--set {brief(setting)}: write it as option=value, for example --set train.steps=100.",
                code="recipe-setting",
            )
        given, name = name, new_name(name, f"--set {brief(setting)}")
        value = values.value_of(text, setting, given in word_options())
        if has_left(name, value, f"--set {brief(setting)}"):
            continue
        if name not in recipe_options():
            raise UsageError(
                f"--set {brief(setting)}: there is no option {brief(name)}{_nearest(brief(name))}",
                code="recipe-unknown-option",
            )
        *path, last = name.split(".")
        section = data
        for part in path:
            if not isinstance(section.get(part), dict):  # validation refuses a section that is something else
                section[part] = {} if section.get(part) is None else section[part]
            section = section[part]
            if not isinstance(section, dict):
                return data
        section[last] = new_value(given, value)
    return data


def _contents(path: Path) -> Any:
    """Return what the YAML of a recipe holds.

    Raises:
        UsageError: it cannot be read, or is not YAML.
    """
    try:
        return parse_yaml(read_text(_file_of(path), MAX_RECIPE_BYTES), word_options())
    except DocumentFault as fault:
        advice = "save it as UTF-8" if fault.kind == "encoding" else advice_on_name(str(path))
        raise UsageError(f"The recipe {path} cannot be read ({fault}); {advice}.", code="recipe-unreadable") from fault
    except YamlFault as fault:
        if fault.kind == "duplicate":
            raise UsageError(
                f"The recipe {path}: {fault.problem}; {fault.remedy}.", code="recipe-option-twice"
            ) from fault
        raise UsageError(f"The recipe {path}: {fault.problem}; {fault.remedy}.", code="recipe-unreadable") from fault


def _file_of(path: Path) -> Path:
    """Return the file itself, or the shipped recipe of that name."""
    path = values.home(path)
    shipped = SHIPPED_RECIPES / f"{path}.yaml"
    return shipped if not is_there(path) and path.name == str(path) and is_there(shipped) else path


def heading_of(path: Path) -> str:
    """Return the comments above a shipped recipe, such as the memory that it needs; of any other file an empty text."""
    file = _file_of(path)
    if file.parent != SHIPPED_RECIPES:
        return ""
    lines = takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    return "\n".join(lines)


def read_recipe(path: Path | None, settings: list[str] | None = None, where: str | None = None) -> Recipe:
    """Return the recipe of a file, or of a shipped name, with `--set` settings; without a path, the defaults.

    where: what is wrong if a value is, in an error; None: the file

    Raises:
        UsageError: no such file, not YAML, or not a recipe.
    """
    data: Any = None if path is None else _contents(path)
    data = {} if data is None else data
    if isinstance(data, dict):
        data = with_new_names(nested(data, str(path)), str(path))
        data = as_begun(data) if path is not None and _is_of_a_run(path) else data
    if isinstance(data, dict) and settings:
        own = deepcopy(data)
        data = with_settings(_for_another(data, settings, path), settings)
        if path and not where and _is_valid(own):  # then what is wrong was given beside the file
            where = "The settings that were given"
    return parse_recipe(data, where or (str(path) if path else "The recipe"))


def _is_valid(data: dict[str, Any]) -> bool:
    with suppress(ValidationError):
        return bool(Recipe.model_validate(data))
    return False


def _is_of_a_run(path: Path) -> bool:
    """Return whether a recipe is the one that a run wrote, with every option of its version."""
    return path.name == "recipe.yaml" and (path.parent / LABELS).is_file()


def _for_another(data: dict[str, Any], settings: list[str], path: Path | None) -> dict[str, Any]:
    """Return a file's mapping without the options that what is set in place of its own objective or LoRA does not use.

    Where all weights are trained, a note tells those of the LoRA of a user's own file.
    """
    told = {option: value for option, _, value in (setting.partition("=") for setting in settings)}
    if told.get("train.weights") == "full" and not _is_full(data):
        if path is not None and _file_of(path).parent != SHIPPED_RECIPES:
            _tell_unused_lora(data.get("lora"), path)
        data = {name: section for name, section in data.items() if name != "lora"}
    name = told.get("objective.name")
    data = without_defaults_of_auto(data, told)
    section = data.get("objective")
    if name is None or not isinstance(section, dict) or section.get("name", OBJECTIVES[0]) == name:
        return data
    kept = {option: value for option, value in section.items() if option not in UNUSED_OPTIONS.get(name, ())}
    return {**data, "objective": kept}


def _tell_unused_lora(section: Any, path: Path) -> None:
    """Note the options of a LoRA that a user's own file sets, and that training all weights does not use."""
    defaults = LoraSection()
    own = [
        f"lora.{name} {shown(value)}"
        for name, value in (section.items() if isinstance(section, dict) else ())
        if value != getattr(defaults, str(name), None)
    ]
    if own:
        note(f"{path}: train.weights=full trains no LoRA, so these settings of the file are left out: {joined(own)}.")


def _is_full(data: Mapping[str, Any]) -> bool:
    return isinstance(train := data.get("train"), Mapping) and train.get("weights") == "full"


def recipe_text(recipe: Recipe) -> str:
    """Return every option in YAML, each under a comment that explains it, and why a default is that of its model."""
    return "\n".join(_lines(recipe, chosen_for_model(recipe))) + "\n"


def chosen_for_model(recipe: Recipe) -> dict[str, Default]:
    """Return the options whose default is that of the model's family or of beta auto, and not the usual one."""
    usual, chosen = recipe_options(), {}
    for name, default in defaults_of(recipe.model_dump(exclude={"objective": {"gain_scale"}})).items():
        section, _, option = name.partition(".")
        if getattr(getattr(recipe, section), option) == default.value != usual[name].default:
            chosen[name] = default.owned_by(family_of(recipe.model))
    return chosen


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """Write a recipe that `read_recipe` reads back."""
    return write_text(path, recipe_text(recipe))


def _lines(section: Section, chosen: Mapping[str, Default], prefix: str = "") -> list[str]:
    lines: list[str] = []
    indent = "  " if prefix else ""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            lines += ["", f"{name}:", *_lines(value, chosen, f"{name}.")]
        else:
            plain = str(value) if isinstance(value, Path) else value
            text = yaml.safe_dump(plain, default_flow_style=True, width=math.inf)
            text = text.removesuffix("\n").removesuffix("\n...")
            why = [f"{indent}# {chosen[prefix + name].sentence}"] if prefix + name in chosen else []
            lines += [f"{indent}# {field.description}", *why, f"{indent}{name}: {text}"]
    return lines
