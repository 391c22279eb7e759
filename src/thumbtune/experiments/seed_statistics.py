"""Student's 95% interval over seeds, for a number that was measured once per seed; paired where seeds are shared.

mean -+ t(0.975, n - 1) * sd / sqrt(n)        Student 1908; a seed is one trial, whatever was counted within it

The interval is unbounded: for a share whose seeds differ much it may reach below 0 or above 1 (`UNBOUNDED_NOTE`).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from thumbtune.evaluation.statistics import CONFIDENCE, Interval

UNBOUNDED_NOTE = (
    "Intervals of shares are Student's intervals too: where seeds differ much, they may reach below 0 or above 1."
)

ONE_BY_ONE_NOTE = "Each claim is tested by itself: of 40 claims between equal methods, about one looks true."


def interval(values: Sequence[float]) -> Interval | None:
    """Return the 95% interval of the mean, or None for fewer than two values."""
    n = len(values)
    if n < 2:  # noqa: PLR2004
        return None
    mean, reach = (
        float(np.mean(values)),
        float(student.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / n**0.5),
    )
    return Interval(mean - reach, mean + reach)


def is_above(values: Sequence[float], threshold: float = 0.0) -> bool | None:
    """Return True if the interval of the mean lies above the threshold, False if below, None if it holds it."""
    reach = interval(values)
    if reach is None:
        return None
    return True if reach.low > threshold else False if reach.high < threshold else None  # None for NaN values


def is_below(values: Sequence[float], threshold: float) -> bool | None:
    """Return True if the interval of the mean lies below the threshold, False if above, None if it holds it."""
    answer = is_above(values, threshold)
    return None if answer is None else not answer


def mean_text(values: Sequence[float], form: str = ".3f") -> str:
    """Return the mean and its interval as text, or "no result" for no values."""
    if not values:
        return "no result"
    reach, mean = interval(values), f"{float(np.mean(values)):{form}}"
    return f"{mean} (one seed)" if reach is None else f"{mean} ({reach.low:{form}} to {reach.high:{form}})"


def change_text(values: Sequence[float], form: str = "+.3f") -> str:
    """Return the mean change and its interval as text, with a sign."""
    return mean_text(values, form)


def interval_columns(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean and both ends of its interval, as three columns of a table."""
    reach = interval(values)
    low, high = (None, None) if reach is None else (reach.low, reach.high)
    return {name: float(np.mean(values)), f"{name}, low": low, f"{name}, high": high}
