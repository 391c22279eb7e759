"""Can the transformer of a pipeline be tuned on images and their prompts? Told from settings."""

from collections.abc import Mapping
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.models.protocol import Sampler

Config = Mapping[str, Any]
USUAL = 1024  # pixels


def check_channels(name: str, network: Config, vae: Config, together: int = 1) -> None:
    """Refuse a transformer that takes other channels than those of a token of its VAE's latents.

    together: positions of a latent whose channels count together

    Raises:
        ThumbtuneError: it is one for inpainting, edits or control images.
    """
    takes, latent = network.get("in_channels"), vae.get("latent_channels") or vae.get("z_dim")
    if isinstance(takes, int) and isinstance(latent, int) and takes != latent * together:
        raise ThumbtuneError(
            f"The transformer of {name!r} takes {takes} channels, but latents of its VAE have {latent * together}: a "
            "model for inpainting, edits or control images cannot be trained on images and their prompts, so name a "
            "text-to-image model.",
            code="model-channels",
        )


def distilled(name: str, why: str) -> ThumbtuneError:
    """Return the error for a model that was distilled to draw in a few steps."""
    return ThumbtuneError(
        f"The model {name!r} is distilled to draw in a few steps ({why}), which training would undo; train the model "
        "that it was made from, and use the LoRA on both.",
        code="model-distilled",
    )


def positions_of_axes(config: Config) -> int | None:
    """Return the positions to a side in a table with a length for text, height and width; None: there is no table."""
    return min(config["axes_lens"][1:]) if config.get("axes_lens") else None


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
