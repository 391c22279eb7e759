"""Can the transformer of a pipeline be tuned on images and their prompts? Told from settings."""

from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.models.protocol import Sampler


def check_channels(pipeline: Any, positions_per_token: int = 1) -> None:
    """Refuse a transformer that takes more, or gives more, than the latents of its VAE.

    positions_per_token: positions of the latent that its channels count together

    Raises:
        ThumbtuneError: it is one for inpainting, edits or control images.
    """
    config, latent = pipeline.transformer.config, pipeline.vae.config.latent_channels * positions_per_token
    takes, gives = config.in_channels, config.get("out_channels") or config.in_channels
    if (takes, gives) != (latent, latent):
        raise ThumbtuneError(
            f"The transformer of {pipeline.config.get('_name_or_path')!r} takes {takes} channels and gives {gives}, but "
            f"latents of its VAE have {latent}: a model for inpainting, edits or control images cannot be trained on "
            "images and their prompts, so name a text-to-image model.",
            code="model-channels",
        )


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
