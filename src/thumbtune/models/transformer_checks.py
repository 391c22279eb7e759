"""Can the transformer of a pipeline be tuned on images and their prompts? Told from settings."""

from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.models.protocol import Sampler

USUAL = 1024  # pixels


def check_channels(pipeline: Any, wanted: int) -> None:
    """Refuse a transformer that takes other channels than those of a token of its VAE's latents.

    Raises:
        ThumbtuneError: it is one for inpainting, edits or control images.
    """
    takes = pipeline.transformer.config.in_channels
    if takes != wanted:
        raise ThumbtuneError(
            f"The transformer of {pipeline.config.get('_name_or_path')!r} takes {takes} channels, but latents of its "
            f"VAE have {wanted}: a model for inpainting, edits or control images cannot be trained on images and their "
            "prompts, so name a text-to-image model.",
            code="model-channels",
        )


def default_size(pipeline: Any) -> int:
    """Return the side of the images that a pipeline draws if nothing is asked for, in pixels."""
    side = getattr(pipeline, "default_sample_size", None)
    return USUAL if side is None else side * pipeline.vae_scale_factor


def refuse_negative(family: str, sampler: Sampler) -> None:
    """Refuse a negative prompt where guidance is a number that the network takes.

    Raises:
        UsageError: there is one.
    """
    if sampler.negative:
        raise UsageError(
            f"{family} takes its guidance as a number and reads no negative prompt; leave it out.",
            code="prompts-no-negative",
        )
