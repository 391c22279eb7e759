"""A recipe: all options of a run, read from and written to YAML. `recipe_sections` defines the options."""

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from thumbtune.errors import UsageError
from thumbtune.files import write_text
from thumbtune.runs import values
from thumbtune.runs.recipe_sections import (
    FIXED_SHARE,
    OBJECTIVES,
    UNUSED_OPTIONS,
    EvaluateSection,
    GatesSection,
    LoraSection,
    ObjectiveSection,
    Section,
    TrainSection,
)
from thumbtune.runs.renamed import has_left, new_name, new_value, with_new_names

SHIPPED_RECIPES = Path(__file__).parents[1] / "recipes"  # recipes with a name of their own
MIN_SIMILARITY = 0.7  # between an unknown option and the known one that is suggested


class Recipe(Section):
    """Every option of a run."""

    model: str = Field(
        default="tiny-emoji-64",
        description="The base model: a folder in diffusers' layout, a hub id, or the bundled tiny-emoji-64.",
    )
    likes: Annotated[str, BeforeValidator(values.likes)] = Field(
        default="likes",
        description="The store of likes: a folder, or postgresql://user@host/database.",
    )
    label_policy: Annotated[str, AfterValidator(values.label_policy)] = Field(
        default="majority",
        description="The label of an image that several people rated: by majority, unanimous, any-dislike, per-vote "
        "(every vote counts), or rater:NAME (one person's votes).",
    )
    seed: int = Field(default=0, ge=0, description="Seed of all randomness in training.")
    lora: LoraSection = Field(default_factory=LoraSection)
    objective: ObjectiveSection = Field(default_factory=ObjectiveSection)
    train: TrainSection = Field(default_factory=TrainSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    gates: GatesSection = Field(default_factory=GatesSection)

    @model_validator(mode="after")
    def _refuse_unused_options(self) -> Self:
        if self.train.weights == "full" and self.lora != LoraSection():
            raise values.UnusedOption("train.weights full does not use the options of lora: leave them out")
        usual = TrainSection().liked_share
        if self.objective.name in FIXED_SHARE and self.train.liked_share != usual:
            raise values.UnusedOption(
                f"{self.objective.name} does not use train.liked_share: leave it out or at {usual:g}"
            )
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
    """Return a suggestion: the closest full name, or the full name that ends in the closest word."""
    known = list(recipe_options())
    last = {name.rpartition(".")[2]: name for name in reversed(known)}  # of several, the first in a recipe
    close = difflib.get_close_matches(key, known, 1) or [
        last[word] for word in difflib.get_close_matches(key.rpartition(".")[2], list(last), 1, MIN_SIMILARITY)
    ]
    return f"; did you mean {close[0]}?" if close else f"; the options are {', '.join(known)}."


def _sentence(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no option {key}{_nearest(key)}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if isinstance(first["input"], BaseModel | dict) and first["type"] == "value_error":  # about a section as a whole
        return f"{where}: {message}."
    return f"{where}: {key or 'the recipe'} is {first['input']!r}, but {message.removeprefix('input ')}."


def parse_recipe(data: Any, where: str) -> Recipe:
    """Return the recipe that a mapping describes.

    Raises:
        UsageError: it has an unknown option, or a value out of bounds.
    """
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise UsageError(
            f"{where}: a recipe is a list of `option: value` lines, not {type(data).__name__}.",
            code="recipe-no-mapping",
        )
    try:
        return Recipe.model_validate(with_new_names(data, where))
    except ValidationError as error:
        first, sentence = error.errors()[0], _sentence(error, where)
        if first["type"] == "extra_forbidden":
            raise UsageError(sentence, code="recipe-unknown-option") from error
        if isinstance(first.get("ctx", {}).get("error"), values.UnusedOption):
            raise UsageError(sentence, code="option-unused") from error
        raise UsageError(sentence, code="recipe-value") from error


def with_settings(data: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Return a nested mapping with `a.b=value` settings put into it, values read as YAML; refuse wrong settings."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(
                f"--set {setting}: write it as option=value, for example --set train.steps=100.", code="recipe-setting"
            )
        given, name = name, new_name(name, f"--set {setting}")
        if has_left(name, values.value_of(text, setting), f"--set {setting}"):
            continue
        if name not in recipe_options():
            raise UsageError(
                f"--set {setting}: there is no option {name}{_nearest(name)}", code="recipe-unknown-option"
            )
        *path, last = name.split(".")
        section = data
        for part in path:
            section = section.setdefault(part, {})
        section[last] = new_value(given, values.value_of(text, setting))
    return data


def _file_of(path: Path) -> Path:
    """Return the file itself, or the shipped recipe of that name."""
    shipped = SHIPPED_RECIPES / f"{path}.yaml"
    return shipped if not path.is_file() and path.name == str(path) and shipped.is_file() else path


def read_recipe(path: Path | None, settings: list[str] | None = None) -> Recipe:
    """Return the recipe of a file, or of a shipped name, with `--set` settings; without a path, the defaults.

    Raises:
        UsageError: no such file, not YAML, or not a recipe.
    """
    data: Any = {}
    if path is not None:
        try:
            data = yaml.safe_load(_file_of(path).read_text(encoding="utf-8")) or {}
        except OSError as error:
            known = ", ".join(sorted(file.stem for file in SHIPPED_RECIPES.glob("*.yaml")))
            raise UsageError(
                f"The recipe {path} cannot be read ({error.strerror}); check the path, or name a shipped one: {known}.",
                code="recipe-unreadable",
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(
                f"The recipe {path} is not YAML ({str(error).splitlines()[0]}); correct the file.",
                code="recipe-unreadable",
            ) from error
    data = with_new_names(data, str(path))
    if isinstance(data, dict) and settings:
        data = with_settings(_for_another(data, settings), settings)
    return parse_recipe(data, str(path) if path else "The recipe")


def _for_another(data: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Return a file's mapping without the options of its objective that the one set in its place does not use."""
    name = next((s.partition("=")[2] for s in reversed(settings) if s.startswith("objective.name=")), None)
    section = data.get("objective")
    if name is None or not isinstance(section, dict) or section.get("name", OBJECTIVES[0]) == name:
        return data
    kept = {option: value for option, value in section.items() if option not in UNUSED_OPTIONS.get(name, ())}
    return {**data, "objective": kept}


def recipe_text(recipe: Recipe) -> str:
    """Return every option in YAML, each under a comment that explains it."""
    return "\n".join(_lines(recipe)) + "\n"


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """Write a recipe that `read_recipe` reads back."""
    return write_text(path, recipe_text(recipe))


def _lines(section: Section, indent: str = "") -> list[str]:
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            lines += ["", f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            plain = str(value) if isinstance(value, Path) else value
            text = (
                yaml.safe_dump(plain, default_flow_style=True, width=math.inf).removesuffix("\n").removesuffix("\n...")
            )
            lines += [f"{indent}# {field.description}", f"{indent}{name}: {text}"]
    return lines
