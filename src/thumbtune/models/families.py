"""The families of pipelines that can be tuned, one row each: how a folder is known, loaded, and turned into a `Model`.

A new family is one more row, and one more file with its adapter. The adapter is named here and imported when it is
used, so that no family's code depends on another's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch

from thumbtune.models.protocol import PipelineModel, Tuning
from thumbtune.models.vae_settings import SCALING, SCALING_OF_XL

UNET, VAE = "unet", "vae"
TEXT, TEXT_2 = "text_encoder", "text_encoder_2"
CLIP, CLIP_2 = "CLIPTextModel", "CLIPTextModelWithProjection"


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of pipelines.

    name:       what people call it
    begins:     the beginning of the `_class_name` in model_index.json; "" for every name that no other family has
    pipeline:   the class of diffusers that loads it
    adapter:    the module and the class of its `Model`
    networks:   the parts with weights, and the only classes that the adapter understands
    tokenizers: one for each text encoder, in the same order
    embeds:     what the UNet adds to its time (addition_embed_type)
    options:    what the pipeline's class is told when it loads a model
    float32:    the parts that give NaN or black images in half precision
    scaling:    by which latents are multiplied, where a model has no VAE of its own that says it
    moments:    whether its pipeline reads the mean and the deviation of latents in the settings of a VAE
    """

    name: str
    begins: str
    pipeline: str
    adapter: tuple[str, str]
    networks: Mapping[str, str]
    tokenizers: Sequence[str] = ("tokenizer",)
    embeds: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    float32: Sequence[str] = ()
    scaling: float = SCALING
    moments: bool = False

    @property
    def texts(self) -> list[str]:
        """Return the names of the text encoders."""
        return [part for part in self.networks if part.startswith(TEXT)]


# the first match counts
FAMILIES = (
    Family(
        name="Stable Diffusion XL",
        begins="StableDiffusionXL",
        pipeline="StableDiffusionXLPipeline",
        adapter=("thumbtune.models.stable_diffusion_xl", "StableDiffusionXL"),
        networks={UNET: "UNet2DConditionModel", VAE: "AutoencoderKL", TEXT: CLIP, TEXT_2: CLIP_2},
        tokenizers=("tokenizer", "tokenizer_2"),
        embeds="text_time",
        options={"add_watermarker": False},
        float32=(VAE,),
        scaling=SCALING_OF_XL,
        moments=True,
    ),
    Family(
        name="Stable Diffusion",
        begins="",
        pipeline="StableDiffusionPipeline",
        adapter=("thumbtune.models.stable_diffusion", "StableDiffusion"),
        networks={UNET: "UNet2DConditionModel", VAE: "AutoencoderKL", TEXT: CLIP},
        options={"safety_checker": None, "requires_safety_checker": False},
    ),
)


def family_of(class_name: object) -> Family:
    """Return the family of a pipeline's class, by the name in model_index.json.

    >>> family_of("StableDiffusionXLPipeline").name, family_of("StableDiffusionPipeline").name
    ('Stable Diffusion XL', 'Stable Diffusion')
    """
    return next(family for family in FAMILIES if str(class_name).startswith(family.begins))


def adapter_of(
    pipeline: Any,
    tuning: Tuning | None = None,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    half: torch.dtype | None = None,
) -> PipelineModel:
    """Return a loaded pipeline as a `Model` of its family; without a tuning, one that only generates images.

    half: the type in which frozen weights are stored, and all but `predict` computes, where it is not float32

    Raises:
        ThumbtuneError: its networks do not fit each other, or its scheduler cannot be trained with.
    """
    module, name = family_of(type(pipeline).__name__).adapter
    adapter = getattr(import_module(module), name)
    return adapter(pipeline, tuning, seed, gradient_checkpointing, half)
