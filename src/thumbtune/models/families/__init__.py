"""The families of pipelines that can be tuned. A new family is one more file here, and its adapter in this list."""

from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from thumbtune.models.families.chroma import Chroma
from thumbtune.models.families.flux import Flux
from thumbtune.models.families.flux2 import Flux2, Flux2Klein
from thumbtune.models.families.krea2 import Krea2
from thumbtune.models.families.ltx import LTX
from thumbtune.models.families.lumina2 import Lumina2
from thumbtune.models.families.pixart import PixArtSigma
from thumbtune.models.families.qwen_image import QwenImage
from thumbtune.models.families.sana import Sana
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.families.stable_diffusion_3 import StableDiffusion3
from thumbtune.models.families.stable_diffusion_xl import StableDiffusionXL
from thumbtune.models.families.wan import Wan
from thumbtune.models.families.z_image import ZImage
from thumbtune.models.family import TRANSFORMER, Family
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.protocol import Tuning

# the first match counts
ADAPTERS: tuple[type[LatentDiffusion], ...] = (
    StableDiffusionXL,
    StableDiffusion3,
    Flux,
    Flux2Klein,
    Flux2,
    Krea2,
    ZImage,
    QwenImage,
    Chroma,
    Sana,
    PixArtSigma,
    Lumina2,
    Wan,
    LTX,
    StableDiffusion,
)
FAMILIES = tuple(adapter.family for adapter in ADAPTERS)


def family_of(class_name: object) -> Family:
    """Return the family of a pipeline's class, by the name in model_index.json; any other name is Stable Diffusion's.

    >>> family_of("StableDiffusionXLPipeline").name, family_of("StableDiffusionPipeline").name
    ('Stable Diffusion XL', 'Stable Diffusion')
    """
    return adapter_class_of(class_name).family


def family_of_name(model: str) -> Family | None:
    """Return the family that the name of a model on the hub tells, without asking the hub; None if it tells none.

    >>> [getattr(family_of_name(name), "name", None) for name in ("krea/Krea-2-Raw", "chroma1/mine")]
    ['Krea 2', None]
    """
    name = model.rpartition("/")[2].lower()
    return next((family for family in FAMILIES if family.hub is not None and family.hub in name), None)


def family_of_network(network: nn.Module) -> Family | None:
    """Return the family whose transformer a network is; None for a UNet, which two families share, and for others."""
    name = type(network).__name__
    return next((family for family in FAMILIES if family.networks.get(TRANSFORMER) == name), None)


def adapter_of(
    pipeline: Any,
    tuning: Tuning | None = None,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    half: torch.dtype | None = None,
) -> LatentDiffusion:
    """Return a loaded pipeline as a `Model` of its family; without a tuning, one that only generates images.

    half: the type in which frozen weights are stored, and all but `predict` computes, where it is not float32

    Raises:
        ThumbtuneError: its networks do not fit each other, or its scheduler cannot be trained with.
    """
    adapter = adapter_class_of(type(pipeline).__name__)
    return adapter(pipeline, tuning, seed, gradient_checkpointing, half)


def adapter_class_of(class_name: object) -> type[LatentDiffusion]:
    """Return the adapter of a pipeline's class, by its name."""
    name = str(class_name)
    return next(adapter for adapter in ADAPTERS if any(fnmatchcase(name, one) for one in adapter.family.classes))
