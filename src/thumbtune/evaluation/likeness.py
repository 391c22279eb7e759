"""How little two models differ: the change of pixels from one to the other, of equal prompts and seeds.

    change of a pair = mean over pixels and channels of |after - before|, in levels of 0 to 255

Below two levels two images look the same, since a level is the least that a screen shows. The median over pairs
counts, so that few changed images among many equal ones do not hide it.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from thumbtune.clips import frames_of
from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers.scoring import PromptedImage, open_image

# levels of 255: with the bundled model, 3 steps changed images by 0.006, and trainings of 125 to 140 steps by 21 to 63
SEEN = 2.0
MAX_PAIRS = 200  # that are looked at, spread over all


def change(before: Image.Image, after: Image.Image) -> float:
    """Return the mean change of a pixel's channel, in levels of 0 to 255.

    Raises:
        ValueError: the images differ in size.
    """
    if before.size != after.size:
        raise ValueError("the images differ in size")
    old, new = (np.asarray(image.convert("RGB"), np.int16) for image in (before, after))
    return float(np.abs(new - old).mean())


def median_change(pairs: Sequence[tuple[PromptedImage, PromptedImage]]) -> float | None:
    """Return the median change over pairs of images, of at most `MAX_PAIRS`; None if no pair can be compared.

    A clip counts with its first frame.
    """
    if not pairs:
        return None
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(MAX_PAIRS, len(pairs))).round().astype(int))
    changes = []
    for before, after in (pairs[number] for number in chosen):
        try:
            changes.append(change(frames_of(open_image(before))[0], frames_of(open_image(after))[0]))
        except (ThumbtuneError, ValueError):  # an unreadable image, or one of another size
            continue
    return float(np.median(changes)) if changes else None


def sentence_of(median: float | None, a: str, b: str) -> str | None:
    """Return that the images of two models hardly differ, and what to do; None if they differ, or nobody knows."""
    if median is None or median >= SEEN:
        return None
    return (
        f"The images of {b} hardly differ from those of {a}: at the median by {median:.2g} of 255 levels a pixel, "
        "which nobody sees. A training changes more with more train.steps, or with a higher train.lr."
    )
