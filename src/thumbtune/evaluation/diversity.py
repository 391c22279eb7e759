"""How different a prompt's images are: a model that forgot how to vary draws the same one for every seed.

    diversity of a prompt = mean over pairs of its images of (1 - r) / 2

r is the correlation of their brightness on a coarse grid, so that it is the shapes that count: neither colours nor
contrast, which a taste may well even out. 0: all alike; 1/2: nothing in common.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 16  # cells a side
FLAT = 1e-6  # brightness spread below which an image shows nothing


def diversity(images: Sequence[Image.Image]) -> float:
    """Of one prompt's images; not a number where there are fewer than two."""
    seen = [_shape(image) for image in images]
    pairs = [_apart(one, other) for one, other in combinations(seen, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def _shape(image: Image.Image) -> NDArray[np.float64]:
    """Brightness on the grid, of mean 0 and length 1; zeros for a flat image."""
    small = image.convert("L").resize((GRID, GRID), Image.Resampling.BOX)
    values = np.asarray(small, np.float64).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > FLAT else np.zeros_like(values)


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if not one.any() and not other.any():  # two flat images show the same: nothing
        return 0.0
    return (1 - float(one @ other)) / 2
