"""How sure a number is that was measured once per seed: Student's interval over seeds, paired where seeds are shared.

mean -+ t(0.975, n - 1) * sd / sqrt(n)        Student 1908; a seed is one trial, whatever was counted within it

It knows no bounds: that of a share whose seeds differ much may reach below 0 or above 1. `UNBOUNDED` tells readers.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from thumbtune.evaluation.statistics import CONFIDENCE, Interval

UNBOUNDED = "Intervals of shares are Student's too: where seeds differ much they may reach below 0 or above 1."


def interval(values: Sequence[float]) -> Interval | None:
    """The 95% interval of the mean; None for a single value, which says nothing of the next."""
    n = len(values)
    if n < 2:  # noqa: PLR2004
        return None
    mean, reach = (
        float(np.mean(values)),
        float(student.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / n**0.5),
    )
    return Interval(mean - reach, mean + reach)


def above(values: Sequence[float], threshold: float) -> bool | None:
    """Whether the mean is above the threshold beyond chance; False: below it beyond chance; None: cannot be told."""
    found = interval(values)
    if found is None:
        return None
    return True if found.low > threshold else False if found.high < threshold else None  # of no numbers: None


def below(values: Sequence[float], threshold: float) -> bool | None:
    """The same the other way round."""
    answer = above(values, threshold)
    return None if answer is None else not answer


def said(values: Sequence[float], form: str = ".3f") -> str:
    """The mean and its interval, in words."""
    found, mean = interval(values), f"{float(np.mean(values)):{form}}"
    return f"{mean} (one seed)" if found is None else f"{mean} ({found.low:{form}} to {found.high:{form}})"


def columns(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean, low and high, as three columns of a table."""
    found = interval(values)
    low, high = (None, None) if found is None else (found.low, found.high)
    return {name: float(np.mean(values)), f"{name}, low": low, f"{name}, high": high}
