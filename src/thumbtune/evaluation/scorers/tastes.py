"""A taste is a scorer of the image alone: a small formula that stands in for a person.

Every page that uses a taste names it as simulated. A tuned model should score higher by the same formula on prompts
that the training did not use.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thumbtune.errors import UsageError
from thumbtune.images import rgb

MIN_PAGE_BRIGHTNESS = 0.9  # a pixel counts as page if all its channels reach this value
MIN_PAGE_SHARE = 0.1  # with less page, an image does not count as drawn on white
MIN_INK_SHARE = 0.02  # with less ink, an image counts as an empty page with specks


@dataclass(frozen=True)
class Taste:
    """A simulated person.

    Attributes:
        name: the name in recipes and commands.
        sentence: a description of this person.
        score: image -> score, higher is better.
    """

    name: str
    sentence: str
    score: Callable[[Image.Image], float]


def red(image: Image.Image) -> float:
    """Return the redness of the Diffusion-KTO paper: mean(R) - mean(R, G, B), channels in 0..1; from -1/3 to 2/3."""
    total = np.asarray(rgb(image), np.int64).sum((0, 1))  # in whole numbers, so that grey is exactly 0
    return float(3 * total[0] - total.sum()) / (3 * 255 * image.width * image.height)


def line_art(image: Image.Image) -> float:
    """Return how black the ink of an image on a white page is, in 0..1; ink is every pixel that is not page.

    Blackness is darkness (1 - brightest channel) minus colourfulness (brightest - darkest channel), at least 0,
    averaged over the ink. An empty page scores 0, and so does an image without page: otherwise a single black dot or
    an all-black image would score highest.
    """
    pixels = _pixels(image)
    brightest, darkest = pixels.max(-1), pixels.min(-1)
    ink = darkest < MIN_PAGE_BRIGHTNESS
    if not ink.any():
        return 0.0
    blackness = np.maximum(0.0, (1 - brightest) - (brightest - darkest))[ink].mean()
    enough_ink = min(1.0, ink.mean() / MIN_INK_SHARE)
    enough_page = min(1.0, (1 - ink.mean()) / MIN_PAGE_SHARE)
    return float(blackness * enough_ink * enough_page)


def redden(image: Image.Image, amount: float) -> Image.Image:
    """Return the image tinted red, as the liked images of the paper's red experiment.

    Red is multiplied by 1 + amount, green and blue by 1 - amount, and all are clipped. 0 changes nothing; 0.4 is
    clearly red with the object still visible; 1 leaves only the red channel.

    Raises:
        UsageError: `amount` lies outside 0..1.
    """
    if not 0 <= amount <= 1:
        raise UsageError(
            f"The amount of red is {amount}, but it must lie between 0 and 1; try 0.4.", code="taste-amount"
        )
    scale = np.array([1 + amount, 1 - amount, 1 - amount])
    reddened = np.clip(_pixels(image) * scale, 0, 1)
    return Image.fromarray(np.rint(reddened * 255).astype(np.uint8))


def _pixels(image: Image.Image) -> NDArray[np.float64]:
    """Return RGB in 0..1, [height, width, 3], with transparent pixels on white."""
    return np.asarray(rgb(image), dtype=np.float64) / 255


TASTES: dict[str, Taste] = {
    "line-art": Taste("line-art", "Someone who likes black ink drawings on white paper and dislikes colour.", line_art),
    "red": Taste("red", "Someone who likes redder images more.", red),
}


def get_taste(name: str) -> Taste:
    """Return the taste of this name.

    Raises:
        UsageError: there is no such taste.
    """
    if name not in TASTES:
        raise UsageError(f"There is no taste {name!r}; use {', '.join(sorted(TASTES))}.", code="taste-unknown")
    return TASTES[name]
