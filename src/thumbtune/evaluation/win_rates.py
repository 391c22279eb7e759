"""Win-rates of one model against another: the question (the estimand), the rate, and its intervals.

    pairwise   mean over prompts and seeds of  1 (higher), 1/2 (tie), 0 (lower)    images of the same prompt and seed
    median     mean over prompts of the same,  of the medians of a prompt's images        the paper's, App. B

They are different questions: a small advantage in every image is a larger one in medians of five. Either way the
prompt is the unit: prompts are drawn whole, within their style, and equal prompts of a style are drawn together.

    bootstrap   percentiles of the estimate over prompts drawn with replacement     Efron 1979, stratified and clustered
    sign test   P(so one-sided, were each decided prompt a fair coin)               exact, two-sided
    Holm        p of scorer i, smallest first, times (m - i + 1), never falling     Holm 1979
    the paper   rate -+ 1.96 sqrt(rate (1 - rate) / images)        for medians too narrow by sqrt(images / prompts)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval, percentile_interval, wilson

Estimand = Literal["median", "pairwise"]
ESTIMANDS: tuple[Estimand, ...] = ("median", "pairwise")
CHANCE = 0.5  # of winning against oneself
ROUNDING = 1e-9  # by which rounding may lead a mean away from one half
MAX_MORE_PROMPTS = 100_000
MIN_BOOTSTRAP_PROMPTS = 20  # from here on a bootstrap of pairs counts alone
MIN_STRATUM = 20  # units: drawn from fewer, a bootstrap varies too little (by 1 / n of the variance of each style)
POWER = 0.8  # of the advice how many prompts would tell
DRAWS_AT_ONCE = 2_000_000  # numbers: 16 MB

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WinRate:
    """The share of comparisons that a model wins, with intervals. `dataclasses.asdict` of it is plain JSON."""

    estimand: Estimand
    rate: float  # wins plus half the ties
    wins: int  # of the estimand's comparisons: prompts (median), pairs of images (pairwise)
    ties: int
    losses: int
    prompts: int
    distinct: int  # prompts that differ in their words or their style: the trials
    bootstrap: Interval
    wilson: Interval
    paper: Interval  # as the paper computes it, for comparison alone
    sign_test: float  # p
    more_prompts: int | None  # that would tell, were the rate as it is; 0 where these are enough, None where none are


@dataclass(frozen=True)
class Units:
    """The `cluster` of prompts that are resampled together, and the `stratum` they belong to; [prompts] integers."""

    cluster: NDArray[np.intp]
    stratum: NDArray[np.intp]  # of each cluster

    @property
    def count(self) -> int:
        """Return the number of clusters."""
        return len(self.stratum)

    def of(self, known: Any) -> "Units":
        """Return the units of the prompts for which `known` is true, numbered anew; known: [prompts], of bool."""
        left, cluster = np.unique(self.cluster[known], return_inverse=True)
        _, stratum = np.unique(self.stratum[left], return_inverse=True)
        return Units(cluster.astype(np.intp), stratum.astype(np.intp))


@dataclass(frozen=True)
class Draws:
    """The settings of a bootstrap; equal settings resample the same prompts."""

    seed: int = 0
    resamples: int = RESAMPLES


def units(prompts: Sequence[str], styles: Sequence[str | None] | None = None) -> Units:
    """Return units in which equal prompts of a style are one; each style is resampled on its own.

    Raises:
        ThumbtuneError: there is not one style for each prompt.
    """
    groups = list(styles) if styles is not None else [None] * len(prompts)
    if len(groups) != len(prompts):
        raise ThumbtuneError(
            f"There are {len(prompts)} prompts but {len(groups)} styles; give one style for each prompt.",
            code="win-rate-bad-input",
        )
    found: dict[tuple[str | None, str], int] = {}
    cluster = [found.setdefault((style, prompt), len(found)) for style, prompt in zip(groups, prompts, strict=True)]
    order = list(dict.fromkeys(groups))
    return Units(np.array(cluster, np.intp), np.array([order.index(style) for style, _ in found], np.intp))


def half_wins(before: ArrayLike, after: ArrayLike, estimand: Estimand, tie: float = 0.0) -> Array:
    """Return 1 where `after` is higher by more than `tie`, 0 where lower, else 1/2: [prompts, k] or [prompts, 1].

    A score that is not a number, of either side, takes its pair out; a prompt without a pair is not a number itself.

    Args:
        before, after: [prompts, k] scores for the same prompts and seeds.

    Raises:
        ThumbtuneError: they are no such tables, or `tie` is below 0.
    """
    old, new = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if len(old.shape) != len(("prompts", "k")) or old.shape != new.shape or not old.size:
        raise ThumbtuneError(
            f"The scores have the shapes {old.shape} and {new.shape}; score both models on the same prompts and seeds.",
            code="win-rate-bad-input",
        )
    if not tie >= 0:
        raise ThumbtuneError(
            f"The tie tolerance is {tie}, but a difference cannot be below zero; try 0.", code="win-rate-bad-input"
        )
    gone = np.isnan(old) | np.isnan(new)
    if estimand == "median":
        old, new = (_medians(np.where(gone, np.nan, side)) for side in (old, new))
        gone = np.isnan(old)
    difference = np.where(gone, 0.0, new) - np.where(gone, 0.0, old)
    return np.where(gone, np.nan, 0.5 + 0.5 * ((difference > tie).astype(float) - (difference < -tie)))


def _medians(side: Array) -> Array:
    """Return the medians of the numbers in each row, [prompts, k] -> [prompts, 1]; NaN for a row without numbers."""
    known = ~np.isnan(side).all(1)
    middle = np.full((len(side), 1), np.nan)
    middle[known, 0] = np.nanmedian(side[known], axis=1)
    return middle


def win_rate(
    before: ArrayLike,
    after: ArrayLike,
    unit: Units,
    estimand: Estimand = "median",
    *,
    tie: float = 0.0,
    draws: Draws = Draws(),
) -> WinRate:
    """Return how often `after` scores higher than `before`, with every interval of this module.

    Args:
        before, after: [prompts, k] scores; see `half_wins`.
        unit: which prompts count as one, and their styles.
        draws: of the bootstrap: the same for all scorers, so that they are drawn together.

    Raises:
        ThumbtuneError: as `half_wins`; or no prompt has a score on both sides.
    """
    halves = half_wins(before, after, estimand, tie)
    known = ~np.isnan(halves).all(1)
    if not known.any():
        raise ThumbtuneError(
            "No prompt has scores for both models; read why the scorer failed.", code="win-rate-no-scores"
        )
    each = np.nanmean(halves[known], axis=1)
    used = unit.of(known)
    rate = float(each.mean())
    pairs = halves[known].size if estimand == "pairwise" else len(each) * np.asarray(before).shape[1]
    trials = _means(used, each[:, None])[:, 0]
    return WinRate(
        estimand,
        rate,
        *(int((halves == worth).sum()) for worth in (1.0, 0.5, 0.0)),
        prompts=len(each),
        distinct=used.count,
        bootstrap=percentile_interval(resampled(used, each[:, None], draws)[:, 0], rate),
        wilson=wilson(rate * used.count, used.count),
        paper=paper_interval(rate, pairs),
        sign_test=sign_test(int((trials > CHANCE + ROUNDING).sum()), int((trials < CHANCE - ROUNDING).sum())),
        more_prompts=more_prompts(trials),
    )


def mean_change(
    before: ArrayLike,
    after: ArrayLike,
    unit: Units,
    *,
    draws: Draws = Draws(),
) -> dict[str, tuple[float, Interval]]:
    """Return the mean score before and after, and their difference, each with its interval.

    Args:
        before, after: [prompts, k] scores; an image without one takes its partner out.

    Raises:
        ThumbtuneError: no prompt has a score on both sides.
    """
    old, new = np.asarray(before, np.float64), np.asarray(after, np.float64)
    gone = np.isnan(old) | np.isnan(new)
    known = ~gone.all(1)
    if not known.any():
        raise ThumbtuneError(
            "No prompt has scores for both models; read why the scorer failed.", code="win-rate-no-scores"
        )
    sides = [np.nanmean(np.where(gone, np.nan, side)[known], axis=1) for side in (old, new)]
    columns = np.stack([*sides, sides[1] - sides[0]], axis=1)
    drawn, means = resampled(unit.of(known), columns, draws), columns.mean(0)
    names = ("before", "after", "change")
    return {name: (float(means[i]), percentile_interval(drawn[:, i], float(means[i]))) for i, name in enumerate(names)}


def resampled(unit: Units, values: Array, draws: Draws = Draws()) -> Array:
    """Return column means over clusters resampled with replacement within their style: [prompts, c] -> [draws, c].

    Styles of fewer than `MIN_STRATUM` units are drawn together. The draws follow from the seed and the units alone:
    columns of several calls can be compared draw by draw.
    """
    sums = np.stack([np.bincount(unit.cluster, column, unit.count) for column in values.T], axis=1)
    sizes = np.bincount(unit.cluster, minlength=unit.count).astype(np.float64)
    weighed = np.concatenate([sums, sizes[:, None]], axis=1)
    generator = np.random.default_rng(draws.seed)
    total = np.zeros((draws.resamples, weighed.shape[1]))
    strata = _merged(unit.stratum)
    for stratum in range(int(strata.max()) + 1):
        members = weighed[strata == stratum]
        part = max(1, DRAWS_AT_ONCE // len(members))
        for start in range(0, draws.resamples, part):
            drawn = generator.integers(len(members), size=(min(part, draws.resamples - start), len(members)))
            total[start : start + part] += members[drawn].sum(1)
    return total[:, :-1] / total[:, -1:]


def _merged(stratum: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the strata with small ones merged, and with the largest if still small: a single unit cannot vary."""
    sizes = np.bincount(stratum)
    small = np.flatnonzero((sizes > 0) & (sizes < MIN_STRATUM))
    if not len(small):
        return np.unique(stratum, return_inverse=True)[1].astype(np.intp)
    into = int(small[0]) if sizes[small].sum() >= MIN_STRATUM else int(sizes.argmax())
    return np.unique(np.where(np.isin(stratum, small), into, stratum), return_inverse=True)[1].astype(np.intp)


def careful_interval(estimand: Estimand, prompts: int, bootstrap: Interval, wilson: Interval) -> Interval:
    """Return the interval that decides: the bootstrap's and Wilson's joined, as a bootstrap of few is too narrow.

    For pairs of images Wilson's interval takes each prompt for one all-or-nothing trial, which it is not. There the
    bootstrap counts alone once it has enough prompts and varies at all.
    """
    if estimand == "pairwise" and prompts >= MIN_BOOTSTRAP_PROMPTS and bootstrap.low != bootstrap.high:
        return bootstrap
    return Interval(min(bootstrap.low, wilson.low), max(bootstrap.high, wilson.high))


def paper_interval(rate: float, images: int) -> Interval:
    """Return the paper's interval: every image is an independent trial, though five of them make one comparison."""
    reach = 1.96 * math.sqrt(rate * (1 - rate) / images)
    return Interval(rate - reach, rate + reach)


def sign_test(wins: int, losses: int) -> float:
    """Return the p-value of the exact sign test: 1 if there are only ties."""
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values of several tests, corrected so that at 0.05 all of them together err in 5 of 100 cases.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, p[i] * (len(p) - rank)))
        corrected[i] = highest
    return corrected


def more_prompts(trials: ArrayLike) -> int | None:
    """Return the number of further prompts that would separate this rate from one half in 80 of 100 repetitions.

        n = ((z_0.975 + z_0.8) s / (rate - 1/2))^2        s: the standard deviation over prompts

    Args:
        trials: [prompts], each one's rate.

    Returns:
        0 if there are enough already; None if it takes more than `MAX_MORE_PROMPTS`, since such a rate equals one half.
    """
    each = np.asarray(trials, np.float64)
    away = abs(float(each.mean()) - CHANCE)
    spread = max(float(each.var()), 0.25 / (len(each) + 1))  # prompts that all agree are no proof that all would
    z = float(norm.ppf((1 + CONFIDENCE) / 2) + norm.ppf(POWER))
    needed = spread * (z / max(away, ROUNDING)) ** 2
    return max(0, math.ceil(needed) - len(each)) if needed <= MAX_MORE_PROMPTS else None


def _means(unit: Units, values: Array) -> Array:
    """Return the means of columns over each cluster: [prompts, c] -> [clusters, c]."""
    sizes = np.bincount(unit.cluster, minlength=unit.count)
    return np.stack([np.bincount(unit.cluster, column, unit.count) / sizes for column in values.T], axis=1)
