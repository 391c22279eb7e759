"""A window of noise levels: the density of a process, restricted to a part of it.

    share   times(v) has the share s(v) of the process: 0 clean, 1 pure noise; s rises with v
    v       u^(1 / bias) without a window, for uniform u: P(v < x) = x^bias
    inside  (a^bias + u (b^bias - a^bias))^(1 / bias)      s(a) = low, s(b) = high: P(v < x) given a <= v < b

So inside the window noise levels are as frequent, relative to each other, as without it, whatever the bias, density and
shift. The same uniform number gives both times.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thumbtune.models.process import Process

Window = tuple[float, float]  # shares of a process: low, high
WHOLE: Window = (0.0, 1.0)
HALVINGS = 40  # of 0..1, finer than float32
NUDGE, NUDGES = 2.0**-24, 4  # float32's step below 1: rounding can carry a number over an end of the window


def place_of(
    process: Process, share: float, count: int, positions: Int[Tensor, "b"] | None = None
) -> Float[Tensor, "b"]:
    """Return the smallest uniform number of each image whose time has at least this share; 1 if none has.

    It halves an interval, so it works for any process: a scheduler's shift may differ from image to image.

    count:     the number of images
    positions: as in `Process.times`
    """
    below, above = torch.zeros(count).double(), torch.ones(count).double()
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        reached = process.share(process.times(middle, positions)) >= share
        below, above = torch.where(reached, below, middle), torch.where(reached, middle, above)
    return above


def inside(
    window: Window,
    process: Process,
    uniform: Float[Tensor, "b"],
    bias: float = 1.0,
    positions: Int[Tensor, "b"] | None = None,
) -> Float[Tensor, "b"]:
    """Map uniform numbers to those whose times lie in the window, with the bias (1: none) in it.

    >>> from thumbtune.models.process import VPProcess
    >>> process = VPProcess(torch.linspace(0.99, 0.01, 1000))
    >>> process.times(inside((0.5, 0.75), process, torch.tensor([0.0, 0.5])))
    tensor([500, 625])
    """
    low, high = window
    zero, one = torch.zeros(len(uniform)).double(), torch.ones(len(uniform)).double()
    first = zero if low <= 0 else place_of(process, low, len(uniform), positions)
    last = one if high >= 1 else place_of(process, high, len(uniform), positions)
    a, b = first**bias, last**bias
    found = ((a + uniform.double() * (b - a)) ** (1 / bias)).to(uniform)
    for _ in range(NUDGES):
        share = process.share(process.times(found, positions))
        if high < 1:
            found = torch.where(share >= high, (found - NUDGE).clamp(min=0), found)
        if low > 0:
            found = torch.where(share < low, (found + NUDGE).clamp(max=1 - NUDGE), found)
    return found
