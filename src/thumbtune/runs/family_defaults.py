"""The defaults of options that depend on the model, or on `beta: auto`; those in the sections of a recipe are the rest.

The family is read from the settings of the UNet, of a folder or of the hub, or from the header of a checkpoint; where
the hub cannot be reached, from the name of the model. Any other UNet, such as that of the bundled model, keeps the
defaults of the sections; of a name that tells nothing, nobody is shown these as the model's own.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thumbtune.documents import read_config
from thumbtune.errors import ThumbtuneError
from thumbtune.hub import INDEX, is_hub_id, settings_file

UNET_CONFIG = "unet/config.json"
UNET_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
SD1, SD2, SDXL = "SD 1.x", "SD 2.x", "SDXL"
WIDTHS = {768: SD1, 1024: SD2}  # of the text that the UNet takes
# what hub ids that were not fetched yet end in, after their owner: sdxl-turbo, RealVisXL_V4.0, but not pixlab
IN_NAMES = {
    re.compile(r"XL(?![A-Za-z])|(?i:sdxl|(?<![a-z])xl(?![a-z]))"): SDXL,
    re.compile(r"(?i)stable-diffusion-2(?!\d)"): SD2,
    re.compile(r"(?i)stable-diffusion-v?1(?!\d)|(?<![a-z\d])v1-5(?!\d)"): SD1,
}
OF_OTHERS = ("pixart",)  # PixArt-alpha, which is none of the families, has an XL in its names


@dataclass(frozen=True)
class Default:
    """A default and its reason, as the end of `Default of SD 1.x: ...`.

    of: what it is a default of; "": the family of the model
    """

    value: Any
    because: str
    of: str = ""

    def owned_by(self, family: str | None) -> "Default":
        """Return this default with its owner: what it is a default of, or else the family of the model."""
        return replace(self, of=self.of or family or "this model")

    @property
    def sentence(self) -> str:
        """Return the default's owner and reason."""
        return f"Default of {self.of}: {self.because}."


PAPER = "as in the paper"
PIPELINE = "as in diffusers' pipeline"
UNPROVEN = "not compared with others on a model of this size"
OF_MACHINE = {
    "train.precision": Default("auto", "activations take half the memory where the GPU computes in bf16"),
    "train.micro_batch": Default("auto", "as many images at once as memory holds"),
    "train.gradient_checkpointing": Default(True, "less memory for more time; the result stays the same"),
}
OF_LORA = {
    "train.lr": Default(1e-4, "usual for a LoRA of this size"),
    "train.steps": Default(500, UNPROVEN),
}
WARMUP, COOLDOWN = 0.1, 0.2  # of the steps of a LoRA
OF_ALL_WEIGHTS = {
    "train.lr": Default(1e-7, PAPER),
    "train.steps": Default(10_000, PAPER),
    "train.batch": Default(8, PAPER),
    "train.warmup": Default(1000, PAPER),
    "train.cooldown": Default(0, PAPER),
    "train.checkpoint_every": Default(500, "a checkpoint of all weights takes gigabytes"),
    "train.keep_checkpoints": Default(2, "a checkpoint of all weights takes gigabytes"),
}
# kto with beta auto, but not on transformers, where nothing was measured (docs/grounds.md)
MEASURED = "better than the paper's settings on two of three grounds (docs/grounds.md)"
OF_AUTO = {
    "objective.gain_scale": Default(0.5, MEASURED, "beta auto"),
    "train.timestep_bias": Default(3.0, MEASURED, "beta auto"),
    "train.liked_share": Default(0.5, MEASURED, "beta auto"),
    "train.disliked_timesteps": Default([0.5, 1.0], MEASURED, "beta auto"),
}
BETA = {"kto": Default(5000.0, PAPER), "dpo": Default(5000.0, "as in Diffusion-DPO")}
GUIDANCE = {SD1: 7.5, SD2: 7.5, SDXL: 5.0}
STEPS = Default(50, PIPELINE)


def family_of(model: str) -> str | None:
    """Return the family of a model: SD 1.x, SD 2.x, SDXL, or that of a transformer.

    Returns:
        None for any other UNet, for a name that is no hub id, and for one that tells nothing without the hub.
    """
    folder = Path(model)
    if folder.is_file():
        return _of_file(folder)
    if (transformer := _transformer(model)) is not None:
        return transformer.name
    on_hub = is_hub_id(model)
    config = read_config(folder / UNET_CONFIG) if folder.is_dir() else _on_hub(model) if on_hub else None
    if config is not None:
        return SDXL if config.get("addition_embed_type") == "text_time" else _of_width(config)
    if not on_hub:
        return None
    name = model.rpartition("/")[2]
    if any(other in name.lower() for other in OF_OTHERS):
        return None
    return next((family for part, family in IN_NAMES.items() if part.search(name)), None)


def _of_file(file: Path) -> str | None:
    """Return the family of a checkpoint in one file; None for a file that loading will refuse."""
    from thumbtune.models import single_file
    from thumbtune.models.weight_files import is_checkpoint

    try:
        if not is_checkpoint(file):
            return None
        return {single_file.SD1: SD1, single_file.SD2: SD2, single_file.SDXL: SDXL}[single_file.plan_of(file).family]
    except ThumbtuneError:
        return None


def _of_width(config: Mapping[str, Any]) -> str | None:
    width = config.get("cross_attention_dim")
    return WIDTHS.get(width) if isinstance(width, int) else None


def _on_hub(model: str) -> dict[str, Any] | None:
    """Return the UNet's settings of a model on the hub; None if it cannot be reached."""
    file = settings_file(model, UNET_CONFIG)
    return None if file is None else read_config(file)


def _transformer(model: str) -> Any | None:
    """Return the family of a model whose network is a transformer, by its index; None for any other model.

    Where the hub cannot be asked for the index, the model's name tells the family.
    """
    folder, on_hub = Path(model), is_hub_id(model)
    file = folder / INDEX if folder.is_dir() else settings_file(model, INDEX) if on_hub else None
    name = None if file is None else (read_config(file) or {}).get("_class_name")
    if not isinstance(name, str):
        return _by_name(model) if on_hub and file is None else None
    if name in UNET_PIPELINES:
        return None
    from thumbtune.models.families import family_of as known_family  # torch is not needed for a UNet

    found = known_family(name)
    return found if found.denoiser == "transformer" else None


def _by_name(model: str) -> Any | None:
    from thumbtune.models.families import family_of_name

    return family_of_name(model)


def refuse_unknown_family(recipe: Mapping[str, Any]) -> None:
    """Refuse a model without the defaults of its family, as neither the hub nor its name told it when it was read.

    It is refused too if the hub answers by now, since the recipe has the defaults of the bundled model.

    recipe: the options that were given, or that the family gave; the defaults of the others are wanted

    Raises:
        ThumbtuneError: it names the model and the options.
    """
    model = recipe.get("model")
    train, evaluate = (_section(recipe.get(name)) for name in ("train", "evaluate"))
    of_train = OF_MACHINE | (OF_ALL_WEIGHTS if train.get("weights") == "full" else OF_LORA)
    wanted = [name for name in of_train if name.partition(".")[2] not in train]
    wanted += [f"evaluate.{name}" for name in ("guidance", "steps") if name not in evaluate]
    if not wanted or not isinstance(model, str) or not is_hub_id(model):
        return
    is_here = settings_file(model, INDEX) is not None or _on_hub(model) is not None
    if is_here and family_of(model) is None:  # a UNet of another width
        return
    raise ThumbtuneError(
        f"The hub did not give the settings of {model!r}, so its family is not known, nor its defaults of "
        f"{', '.join(wanted)}; try again with a connection, give a folder of the model, or set these options.",
        code="recipe-family-unknown",
    )


def sampling_defaults(model: str) -> dict[str, Default]:
    """Return the defaults of generating images with a model, by the options of the evaluation."""
    if (transformer := _transformer(model)) is not None:
        told = {"evaluate.guidance": transformer.guidance, "evaluate.steps": transformer.steps}
        return {name: Default(value, PIPELINE) for name, value in told.items()}
    family = family_of(model)
    if family is None:
        return {}
    return {"evaluate.guidance": Default(GUIDANCE[family], PIPELINE), "evaluate.steps": STEPS}


def defaults_of(recipe: Mapping[str, Any]) -> dict[str, Default]:
    """Return the defaults that differ from those of the sections, by dotted name, for what a recipe says so far."""
    of_model = _of_model(recipe)
    objective = _section(recipe.get("objective"))
    told = of_model.get("objective.beta")
    beta = objective.get("beta", "auto" if told is None else told.value)
    is_plain = objective.get("name", "kto") == "kto" and objective.get("log_ratio") != "relative"
    is_transformer = bool(of_model) and _transformer(str(recipe.get("model"))) is not None
    return {**of_model, **(OF_AUTO if beta == "auto" and is_plain and not is_transformer else {})}


def _of_model(recipe: Mapping[str, Any]) -> dict[str, Default]:
    """Return the defaults of the model's family; of the bundled model, and of any other UNet, there are none."""
    model = recipe.get("model")
    sampling = sampling_defaults(model) if isinstance(model, str) else {}
    if not sampling:
        return {}
    train, objective = (_section(recipe.get(name)) for name in ("train", "objective"))
    trained = OF_ALL_WEIGHTS if train.get("weights") == "full" else OF_LORA
    # for transformers the paper has no beta
    beta = None if _transformer(str(model)) else BETA.get(str(objective.get("name", "kto")))
    # a factor of the range of `auto` asks for it, and the paper's beta is of absolute log-ratios
    has_beta = beta is not None and "gain_scale" not in objective and objective.get("log_ratio") != "relative"
    chosen = {**OF_MACHINE, **trained, **sampling, **({"objective.beta": beta} if has_beta else {})}
    return chosen if trained is OF_ALL_WEIGHTS else chosen | _schedule(train.get("steps", OF_LORA["train.steps"].value))


def _schedule(steps: Any) -> dict[str, Default]:
    """Return the steps in which the learning rate of a LoRA rises and falls; none for steps that are no number."""
    if isinstance(steps, bool) or not isinstance(steps, int | float) or not math.isfinite(steps):
        return {}
    return {
        "train.warmup": Default(int(WARMUP * steps), "a tenth of the steps"),
        "train.cooldown": Default(int(COOLDOWN * steps), "a fifth of the steps"),
    }


def _section(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def with_defaults(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested mapping with the defaults of its model in place of options that it does not name."""
    result = dict(recipe)
    for name, default in defaults_of(recipe).items():
        section, _, option = name.partition(".")
        inside = result.get(section)
        if inside is None:
            inside = {}
        if isinstance(inside, Mapping):  # validation refuses anything else
            result[section] = {option: default.value, **inside}
    return result


def without_defaults_of_auto(recipe: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """Return a nested mapping as it is, or without the defaults of beta auto if settings choose something else.

    The recipe of a run names these defaults.
    """
    result = dict(recipe)
    if settings.get("objective.name", "kto") == "kto" and settings.get("objective.beta", "auto") == "auto":
        return result
    for name, default in OF_AUTO.items():
        section, _, option = name.partition(".")
        inside = result.get(section)
        if isinstance(inside, Mapping) and _is(inside.get(option), default.value):
            result[section] = {one: value for one, value in inside.items() if one != option}
    return result


def _is(given: Any, value: Any) -> bool:
    """Return whether a value of a file, whose lists are texts, is that of a default."""
    if not isinstance(value, list):
        return given == value
    try:
        return [float(one) for one in given] == value
    except (TypeError, ValueError):
        return False
