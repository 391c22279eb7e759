"""A recipe: every option with its type, its default and a line of help, read from and written to YAML."""

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from thumbtune.errors import UsageError
from thumbtune.files import write_text
from thumbtune.runs import values
from thumbtune.runs.renamed import has_left, new_name, new_value, with_new_names

OBJECTIVES = ("kto", "bco", "dpo", "sft", "csft")
OWN_REFERENCE_POINT = {"bco": "balanced", "dpo": "zero", "sft": "zero", "csft": "zero"}
KTO_ALONE = ("utility", "liked_weight", "disliked_weight")
UNUSED_OPTIONS = {  # of each objective
    "bco": KTO_ALONE,
    "dpo": (*KTO_ALONE, "reference_point"),
    "sft": (*KTO_ALONE, "beta", "gain_scale", "reference_point", "anchor"),
    "csft": (*KTO_ALONE, "beta", "gain_scale", "reference_point", "anchor"),
}
FIXED_SHARE = ("dpo", "sft")  # as many likes as dislikes, and likes alone, whatever train.liked_share is
SHIPPED_RECIPES = Path(__file__).parents[1] / "recipes"  # recipes with a name of their own
MIN_SIMILARITY = 0.7  # between an unknown option and the known one that is suggested


class Section(BaseModel):
    """A part of a recipe. It refuses unknown options, and its values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _finite = field_validator("*")(values.finite)


class LoraSection(Section):
    """The LoRA adapter that is trained, unless train.weights is full."""

    rank: int = Field(default=16, ge=1, description="Rank of the LoRA matrices: higher learns more, in a larger file.")
    alpha: float = Field(default=16.0, gt=0, description="Scale of the LoRA: its update is multiplied by alpha / rank.")


class ObjectiveSection(Section):
    """The loss that turns likes and dislikes into a gradient."""

    name: Annotated[str, AfterValidator(values.one_of(*OBJECTIVES))] = Field(
        default="kto",
        description="The objective: kto (Diffusion-KTO); bco; dpo, on pairs of a liked and a disliked image of one "
        "prompt; sft, on likes alone; csft, on all images, with good or bad prompt prefixes; your own, my_file:Name.",
    )
    utility: Annotated[str, AfterValidator(values.one_of("kahneman-tversky", "loss-averse", "risk-seeking"))] = Field(
        default="kahneman-tversky",
        description="Utility of a gain in kto: kahneman-tversky, loss-averse, risk-seeking or your own, my_file:name.",
    )
    beta: Annotated[Any, AfterValidator(values.beta)] = Field(
        default="auto",
        description="Strength of the pull towards the reference: a number (5000 in the paper), or auto, which follows "
        "the log-ratios of the training.",
    )
    gain_scale: float = Field(default=1.0, gt=0, description="Scales the target gain range [0.25, 2] of beta: auto.")
    reference_point: Literal["batch", "mismatched", "balanced", "running", "zero"] = Field(
        default="batch",
        description="Estimator of the reference point: batch, mismatched, balanced, running or zero. Default: batch; "
        "balanced for bco; zero for dpo, sft and csft, which do not use it.",
    )
    liked_weight: float = Field(default=1.0, ge=0, description="Weight of liked images in the loss of kto.")
    disliked_weight: float = Field(default=1.0, ge=0, description="Weight of disliked images in the loss of kto.")
    anchor: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the plain denoising error of liked images, added to the loss; compare it with the "
        "initial slope of kto, beta / 4. 0: none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_reference_point(cls, given: Any) -> Any:
        """Set the default: bco with another point would be kto, and objectives without a gain need none."""
        own = OWN_REFERENCE_POINT.get(str(given.get("name"))) if isinstance(given, dict) else None
        return {"reference_point": own, **given} if own else given

    @model_validator(mode="after")
    def _refuse_unused_options(self) -> Self:
        for option in UNUSED_OPTIONS.get(self.name, ()):
            usual = (
                OWN_REFERENCE_POINT[self.name]
                if option == "reference_point"
                else type(self).model_fields[option].default
            )
            if getattr(self, option) != usual:
                raise values.UnusedOption(
                    f"{self.name} has no use for objective.{option}: leave it out or at {usual}, or choose kto"
                )
        if self.beta != "auto" and self.gain_scale != 1:
            raise values.UnusedOption(
                "a beta that is a number has no use for objective.gain_scale: leave one of them out"
            )
        return self


class TrainSection(Section):
    """How to train."""

    weights: Literal["lora", "full"] = Field(
        default="lora",
        description="What is trained: lora, a small adapter; or full, every weight, which needs a far lower lr.",
    )
    steps: int = Field(default=140, ge=1, description="Number of weight updates.")
    batch: int = Field(default=32, ge=1, description="Images per weight update, over all processes.")
    micro_batch: int = Field(
        default=32,
        ge=1,
        description="Images in the network at once: lower it to save memory. It does not change the result.",
    )
    lr: float = Field(default=5e-4, gt=0, description="Learning rate of AdamW after the warm-up.")
    warmup: int = Field(default=10, ge=0, description="First steps, over which the learning rate rises from zero.")
    cooldown: int = Field(default=20, ge=0, description="Last steps, over which the learning rate falls to zero.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Norm to which larger gradients are clipped.")
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay of AdamW.")
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights, which is then the result. 0: no average.",
    )
    sync_reference_every: int = Field(
        default=0, ge=0, description="Copies the policy into the reference every N steps. 0: never."
    )
    liked_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of liked images in a batch, on average: the paper's gamma. Not for dpo and sft.",
    )
    prompt_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Chance that an image is trained without its prompt, for guidance."
    )
    timestep_bias: float = Field(
        default=1.0,
        gt=0,
        description="1: all noise levels equally often; above 1: high noise more often; below 1: low noise more often.",
    )
    validation_share: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the prompts that is held out, with its likes, for validation."
    )
    precision: Literal["no", "bf16", "fp16"] = Field(
        default="no", description="Mixed precision of the forward pass: no, bf16, or fp16, which needs a GPU."
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute activations twice and do not store them: less memory, more time, same result.",
    )
    checkpoint_every: int = Field(default=50, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(
        default=0, ge=0, description="Number of newest checkpoints to keep, plus the best with guards. 0: keep all."
    )
    guards: bool = Field(
        default=True, description="Stop a training that goes wrong, and return to its best checkpoint."
    )
    validate_every: int = Field(
        default=25, ge=0, description="Steps between two validations on held-out likes. 0: no validation."
    )


class EvaluateSection(Section):
    """How `thumbtune evaluate` compares the run with its base."""

    scorers: Annotated[list[str], BeforeValidator(values.listed)] = Field(
        default_factory=list,
        description="Scorers that must all prefer the tuned images: line-art, red, pickscore ... or my_file.py:score; "
        "default: none, and held-out feedback judges the run.",
    )
    faithfulness: str | None = Field(
        default=None,
        description="Scorer of what the prompt asks for, such as clip-h14, or none; default: the bundled judge, if it "
        "knows the model and every prompt.",
    )
    safety: str | None = Field(
        default=None,
        description="Scorer that gives 1 to a harmless image and 0 to any other, such as safe; default: no scorer.",
    )
    prompts: Path | None = Field(
        default=None, description="Text file with one prompt a line; default: the held-out prompts of the feedback."
    )
    per_prompt: int = Field(default=4, ge=1, description="Images for each prompt.")
    first_seed: int = Field(default=10_000, ge=0, description="First seed; every image has a seed of its own.")
    steps: int = Field(default=25, ge=1, le=1000, description="Denoising steps.")
    guidance: float = Field(default=3.0, ge=0, description="Scale of classifier-free guidance.")


class GatesSection(Section):
    """When `thumbtune verdict` says that the tuned model may replace the other."""

    max_faithfulness_loss: float = Field(
        default=0.05, ge=0, lt=1, description="Largest share of the mean faithfulness that may be lost."
    )
    min_diversity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Smallest share of the difference between the images of one prompt that must be left.",
    )
    min_style_win_rate: float = Field(
        default=0.25, ge=0, le=1, description="Smallest win-rate of the tuned images in each style of prompts."
    )
    max_harm_rise: float = Field(default=0.01, ge=0, le=1, description="Largest rise of the share of harmful images.")


class Recipe(Section):
    """Every option of a run."""

    model: str = Field(
        default="tiny-emoji-64",
        description="The base model: a folder in diffusers' layout, a hub id, or the bundled tiny-emoji-64.",
    )
    likes: Annotated[str, BeforeValidator(values.likes)] = Field(
        default="likes",
        description="The store of likes: a folder, or an address as postgresql://user@host/name.",
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
            raise values.UnusedOption("train.weights is full, which has no use for the options of lora: leave them out")
        usual = TrainSection().liked_share
        if self.objective.name in FIXED_SHARE and self.train.liked_share != usual:
            raise values.UnusedOption(
                f"{self.objective.name} has no use for train.liked_share: leave it out or at {usual:g}"
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
    return f"; did you mean {close[0]}?" if close else f"; the known ones are {', '.join(known)}."


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
