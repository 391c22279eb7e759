"""A recipe: every option with its type, its default and one line of prose, read from and written to YAML."""

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
from thumbtune.runs.renamed import new_name, new_value, with_new_names

OBJECTIVES = ("kto", "bco", "dpo", "sft", "csft")
OWN_REFERENCE_POINT = {"bco": "balanced", "dpo": "zero", "sft": "zero", "csft": "zero"}
KTO_ALONE = ("utility", "liked_weight", "disliked_weight", "disliked_floor")
IN_VAIN = {  # the options that an objective has no use for
    "bco": KTO_ALONE,
    "dpo": (*KTO_ALONE, "reference_point"),
    "sft": (*KTO_ALONE, "beta", "gain_scale", "reference_point", "anchor"),
    "csft": (*KTO_ALONE, "beta", "gain_scale", "reference_point", "anchor"),
}
OWN_SHARE = ("dpo", "sft")  # as many of each kind, and likes alone: no train.liked_share changes that
SHIPPED = Path(__file__).parents[1] / "recipes"  # recipes with a name of their own
ALIKE = 0.7  # how near a word must be to be offered as what was meant


class Section(BaseModel):
    """A part of a recipe; unknown keys are refused, and values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _held = field_validator("*")(values.held)


class LoraSection(Section):
    """The adapter that is trained, unless train.weights is full."""

    rank: int = Field(default=16, ge=1, description="Rank of the LoRA matrices.")
    alpha: float = Field(default=16.0, gt=0, description="LoRA scale; the update is multiplied by alpha / rank.")


class ObjectiveSection(Section):
    """What a thumb is worth."""

    name: Annotated[str, AfterValidator(values.known(*OBJECTIVES))] = Field(
        default="kto",
        description="What a thumb is worth: kto; bco, with reference_point balanced; dpo, on pairs of a liked and a "
        "disliked image of one prompt; sft, on likes alone; csft, on all, prompts marked good or bad; my_file:Name.",
    )
    utility: Annotated[str, AfterValidator(values.known("kahneman-tversky", "loss-averse", "risk-seeking"))] = Field(
        default="kahneman-tversky",
        description="KTO's utility of a gain: kahneman-tversky, loss-averse, risk-seeking; my_file:name.",
    )
    beta: Annotated[Any, AfterValidator(values.beta)] = Field(
        default="auto",
        description="How strongly the policy is held to the reference; auto: set by the log-ratios; 5000 in the paper.",
    )
    gain_scale: float = Field(
        default=1.0, gt=0, description="With beta auto: how many times the gains of 0.25 to 2 it aims at."
    )
    reference_point: Literal["batch", "mismatched", "balanced", "running", "zero"] = Field(
        default="batch",
        description="Estimator of the reference point; default: batch; balanced for bco, zero for those without.",
    )
    liked_weight: float = Field(default=1.0, ge=0, description="Weight of liked images in the loss.")
    disliked_weight: float = Field(default=1.0, ge=0, description="Weight of disliked images in the loss.")
    disliked_floor: float = Field(
        default=0.0,
        ge=0,
        description="Disliked images that are worse by so many times the reference's error pull no more; 0: no floor.",
    )
    anchor: float = Field(
        default=0.0,
        ge=0,
        description="Adds so many times the plain denoising error of liked images; kto starts with a slope of beta/4.",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_reference_point(cls, given: Any) -> Any:
        """BCO without its balanced point would be KTO under another name; what has no gain needs no point."""
        own = OWN_REFERENCE_POINT.get(str(given.get("name"))) if isinstance(given, dict) else None
        return {"reference_point": own, **given} if own else given

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        for option in IN_VAIN.get(self.name, ()):
            usual = (
                OWN_REFERENCE_POINT[self.name]
                if option == "reference_point"
                else type(self).model_fields[option].default
            )
            if getattr(self, option) != usual:
                raise ValueError(
                    f"{self.name} has no use for objective.{option}: leave it out or at {usual}, or choose kto"
                )
        if self.beta != "auto" and self.gain_scale != 1:
            raise ValueError("a beta that is a number has no use for objective.gain_scale: leave one of them out")
        return self


class TrainSection(Section):
    """How to train."""

    weights: Literal["lora", "full"] = Field(
        default="lora",
        description="What is trained: lora, a small adapter; full, every weight, for which lr should be far lower.",
    )
    steps: int = Field(default=140, ge=1, description="Weight updates.")
    batch: int = Field(default=32, ge=1, description="Images per weight update, over all processes.")
    micro_batch: int = Field(
        default=32, ge=1, description="Images that go through the network at once; does not change the result."
    )
    lr: float = Field(default=5e-4, gt=0, description="Learning rate of AdamW after warm-up.")
    warmup: int = Field(default=10, ge=0, description="Steps over which the learning rate rises.")
    cooldown: int = Field(default=20, ge=0, description="Last steps, over which the learning rate falls to zero.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's weight decay.")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="Decay of the average of the weights, which is then the result; 0: none."
    )
    sync_reference_every: int = Field(
        default=0, ge=0, description="Steps after which the policy of that moment becomes the reference; 0: never."
    )
    liked_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Chance that a row is a liked image; the paper's gamma. Not for dpo and sft.",
    )
    prompt_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Chance that an image is shown without its prompt."
    )
    timestep_bias: float = Field(
        default=1.0,
        gt=0,
        description="1: every noise level alike; above 1: noisy ones more often; below 1: nearly clean ones.",
    )
    validation_share: float = Field(
        default=0.2, ge=0, lt=1, description="Share of prompts whose likes are kept from training."
    )
    precision: Literal["no", "bf16", "fp16"] = Field(default="no", description="Mixed precision of the forward pass.")
    gradient_checkpointing: bool = Field(
        default=False, description="Compute activations twice instead of keeping them: less memory, the same result."
    )
    checkpoint_every: int = Field(default=50, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(
        default=0, ge=0, description="Newest checkpoints that are kept, and with guards the best; 0: all."
    )
    guards: bool = Field(default=True, description="Stop a training that goes wrong, and keep its best checkpoint.")
    validate_every: int = Field(
        default=25, ge=0, description="Steps between the guards' looks at agreement with held-out likes; 0: none."
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
    """Everything that decides a run."""

    model: str = Field(
        default="tiny-emoji-64", description="A diffusers folder, a hub id, or the bundled tiny-emoji-64."
    )
    likes: Annotated[str, BeforeValidator(values.likes)] = Field(
        default="likes", description="The folder of the store of likes, or its address: postgresql://user@host/name."
    )
    label_policy: Annotated[str, AfterValidator(values.label_policy)] = Field(
        default="majority",
        description="What counts of an image that several people rated: majority, unanimous, any-dislike, per-vote "
        "(each of them), rater:NAME.",
    )
    seed: int = Field(default=0, ge=0, description="All randomness of training follows from it.")
    lora: LoraSection = Field(default_factory=LoraSection)
    objective: ObjectiveSection = Field(default_factory=ObjectiveSection)
    train: TrainSection = Field(default_factory=TrainSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    gates: GatesSection = Field(default_factory=GatesSection)

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        if self.train.weights == "full" and self.lora != LoraSection():
            raise ValueError("train.weights is full, which has no use for the options of lora: leave them out")
        usual = TrainSection().liked_share
        if self.objective.name in OWN_SHARE and self.train.liked_share != usual:
            raise ValueError(f"{self.objective.name} has no use for train.liked_share: leave it out or at {usual:g}")
        return self


def options(model: type[BaseModel] = Recipe, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> pydantic field, of every option."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            found |= options(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def _nearest(key: str) -> str:
    """A hint at what was meant: the closest full name, or the full name that ends in the same word."""
    known = list(options())
    last = {name.rpartition(".")[2]: name for name in reversed(known)}  # of several, the first in a recipe
    close = difflib.get_close_matches(key, known, 1) or [
        last[word] for word in difflib.get_close_matches(key.rpartition(".")[2], list(last), 1, ALIKE)
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


def parse(data: Any, where: str) -> Recipe:
    """Validate a mapping.

    Raises:
        UsageError: an unknown key (with the nearest known one) or a value out of bounds.
    """
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise UsageError(f"{where}: a recipe is a list of `option: value` lines, not {type(data).__name__}.")
    try:
        return Recipe.model_validate(with_new_names(data, where))
    except ValidationError as error:
        raise UsageError(_sentence(error, where)) from error


def with_settings(data: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Apply `a.b=value` settings, values read as YAML, to a nested mapping."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting}: write it as option=value, for example --set train.steps=100.")
        given, name = name, new_name(name, f"--set {setting}")
        if name not in options():
            raise UsageError(f"--set {setting}: there is no option {name}{_nearest(name)}")
        *path, last = name.split(".")
        section = data
        for part in path:
            section = section.setdefault(part, {})
        section[last] = new_value(given, values.value_of(text, setting))
    return data


def _file_of(path: Path) -> Path:
    """The file itself, or the shipped recipe of that name."""
    shipped = SHIPPED / f"{path}.yaml"
    return shipped if not path.is_file() and path.name == str(path) and shipped.is_file() else path


def read(path: Path | None, settings: list[str] | None = None) -> Recipe:
    """A recipe file, or the name of a shipped one, with `--set` applied; no path means the defaults.

    Raises:
        UsageError: no such file, not YAML, or not a recipe.
    """
    data: Any = {}
    if path is not None:
        try:
            data = yaml.safe_load(_file_of(path).read_text(encoding="utf-8")) or {}
        except OSError as error:
            known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
            raise UsageError(
                f"The recipe {path} cannot be read ({error.strerror}); check the path, or name a shipped one: {known}."
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"The recipe {path} is not YAML ({str(error).splitlines()[0]}).") from error
    data = with_new_names(data, str(path))
    if isinstance(data, dict) and settings:
        data = with_settings(_for_another(data, settings), settings)
    return parse(data, str(path) if path else "The recipe")


def _for_another(data: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """A file's mapping, less what it says of its objective that means nothing to the one that is set in its place."""
    name = next((s.partition("=")[2] for s in reversed(settings) if s.startswith("objective.name=")), None)
    section = data.get("objective")
    if name is None or not isinstance(section, dict) or section.get("name", OBJECTIVES[0]) == name:
        return data
    kept = {option: value for option, value in section.items() if option not in IN_VAIN.get(name, ())}
    return {**data, "objective": kept}


def text_of(recipe: Recipe) -> str:
    """Every option in YAML, each under a comment that explains it."""
    return "\n".join(_lines(recipe)) + "\n"


def write(recipe: Recipe, path: Path) -> Path:
    """Write what `read` reads back."""
    return write_text(path, text_of(recipe))


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
