"""Sizes of images in pixels, as pipelines draw them and as a model's settings say them."""

import math
from collections.abc import Mapping
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.sides import PIPELINE_UNIT, Size, height_and_width, size_text

Config = Mapping[str, Any]
UNET, VAE = "unet", "vae"


def longest_side(positions: int | None, pixels: int) -> int | None:
    """Return the longest side for which a table has positions, of so many pixels each; None: there is no table."""
    return None if positions is None else positions * pixels


def check_longest(size: Size, longest: int | None, what: str) -> None:
    """Refuse a size beyond the table of positions of a model; `what` begins the sentence.

    longest: a side in pixels; None: any

    Raises:
        UsageError: it names the longest side.
    """
    if longest is not None and max(height_and_width(size)) > longest:
        raise UsageError(
            f"{what} is {size_text(size)}, and the positions that this model knows end at {longest} pixels to a side; "
            f"take {longest} or less.",
            code="size-too-long",
        )


def drawn_unit(factor: int) -> int:
    """Return what the sides of drawn images are multiples of: diffusers' pipelines ask for 8, whatever the VAE."""
    return math.lcm(PIPELINE_UNIT, factor)


def size_of(name: str, unet: Config, vae: Config, factor: int) -> Size:
    """Return the pixels of a model's images, from the UNet's sample_size or, if that is null, from the VAE's.

    Raises:
        ThumbtuneError: neither says a size, or one that is no whole number above 0.
    """
    latent, own = unet.get("sample_size"), vae.get("sample_size")
    if latent is None and own is not None and "sample_size" not in vae.get("_use_default_values", ()):
        return square(name, own, VAE)
    if latent is None:
        raise ThumbtuneError(
            f"The model {name!r} has no sample_size in unet/config.json, nor in vae/config.json; write the size of its "
            f"images, divided by {factor}, into the first.",
            code="model-no-size",
        )
    size = square(name, latent, UNET)
    return size * factor if isinstance(size, int) else (size[0] * factor, size[1] * factor)


def square(name: str, size: object, part: str) -> Size:
    """Return one number if both sides are the same."""
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and side > 0]
    if len(whole) != 2 or len(sides) != 2:  # noqa: PLR2004 - height and width
        raise ThumbtuneError(
            f"The sample_size in {part}/config.json of {name!r} is {str(size)[:40]!r}; write a whole number above 0, "
            "or the height and the width.",
            code="model-bad-size",
        )
    return whole[0] if whole[0] == whole[1] else (whole[0], whole[1])
