"""How different the images of a prompt are: a collapsed model generates the same image for every seed.

    diversity of a prompt = mean over pairs of its images of (1 - r) / 2

r is the correlation of their brightness on a coarse grid. Shapes count; colour and contrast, which a taste may make
uniform, do not. 0: identical; 1/2: uncorrelated.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID_SIZE = 16  # cells a side
MIN_CONTRAST = 1e-6  # brightness spread below which an image counts as flat


def diversity(images: Sequence[Image.Image]) -> float:
    """Return the diversity of one prompt's images; NaN for fewer than two."""
    patterns = [_brightness_pattern(image) for image in images]
    distances = [_distance(a, b) for a, b in combinations(patterns, 2)]
    return float(np.mean(distances)) if distances else float("nan")


def _brightness_pattern(image: Image.Image) -> NDArray[np.float64]:
    """Return brightness on the grid, with mean 0 and length 1; zeros for a flat image."""
    small = image.convert("L").resize((GRID_SIZE, GRID_SIZE), Image.Resampling.BOX)
    values = np.asarray(small, np.float64).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > MIN_CONTRAST else np.zeros_like(values)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if not a.any() and not b.any():  # two flat images are alike
        return 0.0
    return (1 - float(a @ b)) / 2
