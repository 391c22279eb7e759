"""The section of a recipe on prompts."""

from typing import Literal

from pydantic import Field

from thumbtune.runs.recipe_sections import Section


class PromptsSection(Section):
    """How prompts are read, in training, evaluation and generating alike."""

    over_length: Literal["cut", "chunks"] = Field(
        default="cut",
        description="What happens to a prompt beyond the 75 words and signs (tokens) that a text encoder reads at "
        "once: cut, as in diffusers and the paper; or chunks, which reads it all, in parts, as ComfyUI and A1111 do.",
    )
    syntax: Literal["plain", "a1111"] = Field(
        default="plain",
        description="plain: every character of a prompt is text; a1111: (red:1.3), (red) and [red] weigh words, BREAK "
        "begins a new chunk, tags such as <lora:ink:1> are taken out.",
    )
    clip_skip: int | None = Field(
        default=None,
        ge=1,
        description="The layer of the text encoder that is used, counted as in A1111: 1 is the last one, 2 the one "
        "before. Default: the model's own, 1 for SD 1.x, 2 for SD 2.x and SDXL.",
    )
