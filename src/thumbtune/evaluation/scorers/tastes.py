"""Simulated people with a stated taste: small formulas that look at an image and say how much they like it.

They stand in for a person where none is at hand, and every page that uses one says so. A tuned model should
please the same formula more, on prompts that the training never saw.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thumbtune.errors import UsageError
from thumbtune.images import rgb

PAGE_WHITE = 0.9  # a pixel is page where every channel is at least this bright
LEAST_PAGE = 0.1  # below this share of page an image is no longer drawn on white
LEAST_INK = 0.02  # below this share of ink an image is an empty page with dust on it


@dataclass(frozen=True)
class Taste:
    """A simulated person.

    Attributes:
        name: as recipes and commands name it.
        sentence: who this person is, in plain words.
        score: image -> how much it is to their taste, higher is more.
    """

    name: str
    sentence: str
    score: Callable[[Image.Image], float]


def red(image: Image.Image) -> float:
    """Redness as in the Diffusion-KTO paper: mean(R) - mean(R, G, B), channels in 0..1; from -1/3 to 2/3."""
    total = np.asarray(rgb(image), np.int64).sum((0, 1))  # whole numbers: grey is 0, not nearly
    return float(3 * total[0] - total.sum()) / (3 * 255 * image.width * image.height)


def line_art(image: Image.Image) -> float:
    """Black ink on white, in 0..1: how near to neutral black the pixels are that are not page white.

    Nearness is darkness (1 - brightest channel) minus colourfulness (brightest - darkest channel), at least
    0, averaged over the ink. An empty page, or an image without any page left, scores 0; without these two
    guards a model could please this person with a single black dot or an all-black image.
    """
    pixels = _pixels(image)
    brightest, darkest = pixels.max(-1), pixels.min(-1)
    ink = darkest < PAGE_WHITE
    if not ink.any():
        return 0.0
    nearness = np.maximum(0.0, (1 - brightest) - (brightest - darkest))[ink].mean()
    enough_ink = min(1.0, ink.mean() / LEAST_INK)
    enough_page = min(1.0, (1 - ink.mean()) / LEAST_PAGE)
    return float(nearness * enough_ink * enough_page)


def redden(image: Image.Image, amount: float) -> Image.Image:
    """The same image seen through red glass, as the liked images of the paper's red experiment.

    Red is scaled by 1 + amount, green and blue by 1 - amount, and clipped. At 0 nothing changes; 0.4 is
    clearly red with the object still plain to see; at 1 only the red channel is left.

    Raises:
        UsageError: `amount` lies outside 0..1.
    """
    if not 0 <= amount <= 1:
        raise UsageError(f"The amount of red is {amount}, but it must lie between 0 and 1; try 0.4.")
    scale = np.array([1 + amount, 1 - amount, 1 - amount])
    reddened = np.clip(_pixels(image) * scale, 0, 1)
    return Image.fromarray(np.rint(reddened * 255).astype(np.uint8))


def _pixels(image: Image.Image) -> NDArray[np.float64]:
    """RGB in 0..1, [height, width, 3]; transparent images are laid on white, as a page shows them."""
    return np.asarray(rgb(image), dtype=np.float64) / 255


TASTES: dict[str, Taste] = {
    "line-art": Taste("line-art", "Someone who likes black ink drawings on white paper and dislikes colour.", line_art),
    "red": Taste("red", "Someone who likes images the more, the redder they are.", red),
}


def taste(name: str) -> Taste:
    """The taste of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in TASTES:
        raise UsageError(f"There is no taste {name!r}; known are {', '.join(sorted(TASTES))}.")
    return TASTES[name]
