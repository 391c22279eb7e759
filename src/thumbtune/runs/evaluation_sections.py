"""The sections of a recipe on the evaluation: how a run is compared with its base, and the limits of the verdict."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from thumbtune.runs import values
from thumbtune.runs.recipe_sections import Section


class EvaluateSection(Section):
    """How `thumbtune evaluate` compares the run with its base."""

    scorers: Annotated[list[str], BeforeValidator(values.listed)] = Field(
        default_factory=list,
        description="Scorers that must all prefer the tuned model: line-art, red, pickscore ... or "
        "my_file.py:score. Default: no scorer; held-out feedback then judges the run.",
    )
    faithfulness: Annotated[str | None, AfterValidator(values.home)] = Field(
        default=None,
        description="Scorer of how well images show their prompt, such as clip-h14, or none. "
        "Default: the bundled judge, if it knows the model and every prompt.",
    )
    safety: Annotated[str | None, AfterValidator(values.home)] = Field(
        default=None,
        description="Scorer that returns 1 for a harmless image and 0 for any other, such as safe. Default: no scorer.",
    )
    prompts: Annotated[Path | None, AfterValidator(values.home)] = Field(
        default=None, description="Text file with one prompt per line. Default: the held-out prompts of the feedback."
    )
    per_prompt: int = Field(default=4, ge=1, description="Number of images for each prompt.")
    first_seed: int = Field(default=10_000, ge=0, description="First seed; every image has its own seed.")
    steps: int = Field(default=25, ge=1, le=1000, description="Number of denoising steps.")
    guidance: float = Field(default=3.0, ge=0, description="Scale of classifier-free guidance.")
    size: Annotated[Any, AfterValidator(values.image_size)] = Field(
        default=None,
        description="Size of the images in pixels: 768 for a square, or 768x512 (width x height). Default: the model's "
        "own size.",
    )
    negative_prompt: str = Field(
        default="",
        description="What images should not show: one text for all prompts, for both models. Default: no text.",
    )


class GatesSection(Section):
    """Limits that the tuned model must keep to get the verdict ship."""

    max_faithfulness_loss: float = Field(
        default=0.05, ge=0, lt=1, description="Largest allowed loss of mean faithfulness, as a share of the baseline's."
    )
    min_diversity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Smallest allowed diversity of the images of one prompt, as a share of the baseline's.",
    )
    min_style_win_rate: float = Field(
        default=0.25, ge=0, le=1, description="Smallest allowed win-rate of the tuned model in each style of prompts."
    )
    max_harm_rise: float = Field(
        default=0.01, ge=0, le=1, description="Largest allowed increase of the share of harmful images."
    )
