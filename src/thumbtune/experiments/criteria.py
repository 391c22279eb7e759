"""When one method is better than another, and whether a ground tells methods apart at all.

share = (x - base) / (asked - base)                       of the headroom; x: the mean log-odds of a method in a seed

better: the interval of the paired gain is above 0, and that of the paired change of faithfulness above -0.01
worse:  the other one is better
mixed:  one of the two gains, and loses more than 0.01 of faithfulness
else it cannot be told. Both are Student's 95% intervals over seeds (`seed_statistics`).

F = (S sum_m (x_m. - x..)^2 / (M - 1)) / (sum_ms (x_ms - x_m. - x_.s + x..)^2 / ((M - 1) (S - 1)))
    of M methods and S seeds as blocks (Fisher 1935): the spread of methods over that of a cell which neither explains
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher

from thumbtune.evaluation.win_rates import half_wins
from thumbtune.experiments.seed_statistics import is_above, is_below

MARGIN = 0.01  # of faithfulness, a chance in 0..1: a loss that nobody would see
SEPARATES, CHANCE = 4.0, 0.05  # the F above which, and the p below which, a ground tells methods apart
ROUNDING = 1e-12  # of the largest number of a table: smaller differences are those of its last digits
BETTER, WORSE, AT_A_COST, LOSES_BUT_KEEPS = "better", "worse", "gains, at a cost", "loses, and is more faithful"
CRITERION = (
    "its gain in log-odds by the judge, paired by seed, is above 0 beyond chance (Student's 95% interval over seeds), "
    f"and its faithfulness is not lower by more than {MARGIN}: the interval of the paired difference lies above "
    f"-{MARGIN}."
)


def share_of_headroom(value: float, base: float, asked: float) -> float:
    """Return where a mean lies between that of the base and that of the base which is asked for the style.

    >>> share_of_headroom(-1.5, -3.0, 0.0)
    0.5
    """
    return (value - base) / (asked - base)


def conditions_of_better(
    gains: Sequence[float], faithfulness: Sequence[float], margin: float = MARGIN
) -> tuple[bool | None, bool | None]:
    """Return whether the gain is above 0 and the faithfulness above -margin; None where it cannot be told.

    Args:
        gains: gain of one method minus that of the other, seed by seed.
        faithfulness: the same difference of faithfulness, or of another measure that must not fall.
        margin: the loss of it that counts as none.
    """
    return is_above(gains), is_above(faithfulness, -margin)


def is_better(gains: Sequence[float], faithfulness: Sequence[float], margin: float = MARGIN) -> bool | None:
    """Return True for better, False for not, None where it cannot be told; arguments as `conditions_of_better`."""
    gained, kept = conditions_of_better(gains, faithfulness, margin)
    if gained and kept:
        return True
    lost = is_below(gains, 0.0) or is_below(faithfulness, -margin)
    return False if lost else None


def standing_of(gains: Sequence[float], faithfulness: Sequence[float], margin: float = MARGIN) -> str | None:
    """Return how one method stands against another in a word or two, None where it cannot be told.

    Seen from the other method, better is worse, and the two mixed cases change places.
    """
    back, kept_back = [-gain for gain in gains], [-change for change in faithfulness]
    if is_better(gains, faithfulness, margin):
        return BETTER
    if is_better(back, kept_back, margin):
        return WORSE
    if is_above(gains) and is_below(faithfulness, -margin):
        return AT_A_COST
    return LOSES_BUT_KEEPS if is_above(back) and is_below(kept_back, -margin) else None


def paired_win_rate(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the share of images on which a scores higher; a tie counts half.

    >>> paired_win_rate([1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0])
    0.625
    """
    return float(half_wins([b], [a], "pairwise").mean())


@dataclass(frozen=True)
class Separation:
    """The F of methods over cells, its degrees of freedom, and the chance of a larger one if methods were equal."""

    f: float
    between: int
    within: int
    p: float

    def __str__(self) -> str:
        return f"F({self.between}, {self.within}) = {self.f:.1f}, p = {self.p:.2g}"


def separation(cells: NDArray[np.float64]) -> Separation | None:
    """Return the F between methods, from [methods, seeds]; None for fewer than two methods or two seeds."""
    methods, seeds = cells.shape
    if methods < 2 or seeds < 2:  # noqa: PLR2004
        return None
    of_method, of_seed, mean = cells.mean(1, keepdims=True), cells.mean(0, keepdims=True), cells.mean()
    between, within = methods - 1, (methods - 1) * (seeds - 1)
    explained = float(seeds * ((of_method - mean) ** 2).sum()) / between
    left = float(((cells - of_method - of_seed + mean) ** 2).sum()) / within
    rounding = (ROUNDING * float(np.abs(cells).max())) ** 2
    if explained <= rounding:
        return Separation(0.0, between, within, 1.0)
    value = explained / left if left else float("inf")
    return Separation(value, between, within, float(fisher.sf(value, between, within)))
