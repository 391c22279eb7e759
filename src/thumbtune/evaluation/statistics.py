"""Intervals, and how well a score tells likes from dislikes, with the prompt as the unit.

Images of one prompt resemble each other: a model that generates a good cat does so from every seed. Counting each image
as one more trial makes intervals too narrow, so the intervals here draw and count whole prompts.

    Wilson     (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)      Wilson 1927
    bootstrap  percentiles of the statistic over prompts drawn with replacement    Efron 1979
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from thumbtune.errors import ThumbtuneError, plural

CONFIDENCE = 0.95
RESAMPLES = 10_000
RESAMPLES_AT_ONCE = 500  # bounds the memory: 500 x 3,200 prompts of int64 are 13 MB

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A range that holds the true value in 95 of 100 repeated experiments (or as many as asked for)."""

    low: float
    high: float


def wilson(wins: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a proportion. Unlike mean +- error it stays sensible at 0% and 100%.

    Args:
        wins: successes out of `n`; half a win is allowed (a tie).
        n: independent trials. Give the number of prompts, not of images.

    Raises:
        ThumbtuneError: `n` is below 1, or `wins` lies outside 0..n, or `confidence` outside 0..1.
    """
    if n < 1:
        raise ThumbtuneError(
            f"A Wilson interval needs at least one trial, not {n}; give the number of prompts.",
            code="statistics-bad-input",
        )
    if not 0 <= wins <= n:
        raise ThumbtuneError(
            f"A Wilson interval got {wins} wins in {n} trials; wins must lie between 0 and {n}.",
            code="statistics-bad-input",
        )
    if not 0 < confidence < 1:
        raise ThumbtuneError(
            f"The confidence {confidence} of a Wilson interval must lie between 0 and 1; try 0.95.",
            code="statistics-bad-input",
        )
    z = float(norm.ppf((1 + confidence) / 2))
    rate = wins / n
    centre = rate + z * z / (2 * n)
    reach = z * np.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    low, high = (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)
    # Rounding may leave 1e-17 on the wrong side of 0, of 1 or of the rate itself.
    return Interval(float(min(max(low, 0.0), rate)), float(max(min(high, 1.0), rate)))


def accuracy(correct: ArrayLike, prompts: ArrayLike, *, seed: int = 0) -> tuple[float, Interval]:
    """Return the share of correct answers, with an interval that draws whole prompts.

    Args:
        correct: [n], 1 or true if right, 0 if wrong, 0.5 if undecided.
        prompts: [n], the prompt (any name or number) of each answer.

    Raises:
        ThumbtuneError: the lengths differ, a value is not finite or outside 0..1, or there is none.
    """
    right, names = _answers(correct, prompts)
    drawn = _resampled_means(_sums([right, np.ones_like(right)], names), seed, RESAMPLES)
    value = float(right.mean())
    return value, percentile_interval(drawn[:, 0] / drawn[:, 1], value)


def balanced_accuracy(
    correct: ArrayLike, liked: ArrayLike, prompts: ArrayLike, *, seed: int = 0
) -> tuple[float, Interval]:
    """Return the mean of the shares of correct answers among likes and among dislikes (Brodersen et al. 2010).

    The same answer to everything gives one half, whatever the shares of likes and dislikes. The interval draws whole
    prompts; draws without both kinds are left out.

    Args:
        correct: [n], as for `accuracy`.
        liked: [n], booleans: the true label of each.
        prompts: [n], the prompt (any name or number) of each answer.

    Raises:
        ThumbtuneError: as `accuracy`, or one of the two kinds is missing.
    """
    right, names = _answers(correct, prompts)
    labels = np.asarray(liked, dtype=bool)
    if labels.shape != right.shape:
        raise ThumbtuneError(
            f"There are {right.size} answers but {labels.size} labels; give one label for each answer.",
            code="statistics-bad-input",
        )
    if labels.all() or not labels.any():
        raise ThumbtuneError(
            "A balanced accuracy needs likes and dislikes, but all labels are equal; use `accuracy`.",
            code="statistics-bad-input",
        )
    drawn = _resampled_means(_sums([right * labels, labels, right * ~labels, ~labels], names), seed, RESAMPLES)
    both = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
    value = float((right[labels].mean() + right[~labels].mean()) / 2)
    return value, percentile_interval((both[:, 0] / both[:, 1] + both[:, 2] / both[:, 3]) / 2, value)


def auc(score: ArrayLike, liked: ArrayLike) -> float:
    """Return the chance that a liked item scores above a disliked one, ties half (the Mann-Whitney statistic).

    Args:
        score: [n], higher should mean liked.
        liked: [n], booleans.

    Raises:
        ThumbtuneError: the lengths differ, a score is not finite, or one of the two kinds is missing.
    """
    values = _finite(score, "score", "[n]")
    labels = np.asarray(liked, dtype=bool)
    if labels.shape != values.shape:
        raise ThumbtuneError(
            f"There are {values.size} scores but {labels.size} labels; give one label for each score.",
            code="statistics-bad-input",
        )
    likes, dislikes = int(labels.sum()), int((~labels).sum())
    if not likes or not dislikes:
        raise ThumbtuneError(
            f"An AUC needs likes and dislikes, but got {plural(likes, 'like')} and "
            f"{plural(dislikes, 'dislike')}; add the missing kind.",
            code="statistics-bad-input",
        )
    rank_sum = rankdata(values)[labels].sum()
    return float((rank_sum - likes * (likes + 1) / 2) / (likes * dislikes))


def auc_interval(score: ArrayLike, liked: ArrayLike, prompts: ArrayLike, *, seed: int = 0) -> Interval:
    """Return the 95% interval of `auc`, drawing whole prompts.

    With w[p] the number of times that prompt p was drawn, M[p, q] the pairs (liked of p, disliked of q) in the right
    order and N[p, q] all such pairs, a resampled AUC is w M w / w N w. Draws without a pair are left out.

    Args:
        score, liked: [n], as for `auc`.
        prompts: [n], the prompt (any name or number) that each item belongs to.

    Raises:
        ThumbtuneError: as `auc`, or the lengths differ.
    """
    value = auc(score, liked)
    scores, labels, names = np.asarray(score, float), np.asarray(liked, bool), np.asarray(prompts)
    if names.shape != scores.shape:
        raise ThumbtuneError(
            f"There are {scores.size} scores but {names.size} prompts; give one prompt for each score.",
            code="statistics-bad-input",
        )
    _, cluster = np.unique(names, return_inverse=True)
    member = np.eye(cluster.max() + 1)[cluster]  # [n, prompts]
    right = (np.sign(scores[labels][:, None] - scores[~labels][None]) + 1) / 2
    ordered = member[labels].T @ right @ member[~labels]
    pairs = member[labels].T @ np.ones_like(right) @ member[~labels]
    count = len(pairs)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    total = np.einsum("rp,pq,rq->r", drawn, pairs, drawn, optimize=True)
    good = np.einsum("rp,pq,rq->r", drawn, ordered, drawn, optimize=True)
    return percentile_interval(good[total > 0] / total[total > 0], value)


def _answers(correct: ArrayLike, prompts: ArrayLike) -> tuple[Array, NDArray[Any]]:
    """Return both as [n], once each answer lies in 0..1 and has a prompt."""
    right, names = _finite(correct, "correct", "[n]"), np.asarray(prompts)
    if names.shape != right.shape:
        raise ThumbtuneError(
            f"There are {right.size} answers but {names.size} prompts; give one prompt for each answer.",
            code="statistics-bad-input",
        )
    if right.min() < 0 or right.max() > 1:
        raise ThumbtuneError(
            "`correct` contains a value outside [0, 1]; use 1 for correct answers and 0 for wrong ones.",
            code="statistics-bad-input",
        )
    return right, names


def _sums(columns: list[NDArray[Any]], prompts: NDArray[Any]) -> Array:
    """Return k columns of [n], added up by prompt: [prompts, k]."""
    _, cluster = np.unique(prompts, return_inverse=True)
    return np.stack([np.bincount(cluster, weights=column) for column in columns], axis=1).astype(np.float64)


def _resampled_means(columns: Array, seed: int, resamples: int) -> Array:
    """Return means over prompts drawn with replacement: [prompts, k] -> [resamples, k]; all k share one draw."""
    if resamples < 1:
        raise ThumbtuneError(
            f"A bootstrap needs at least one resample, not {resamples}; try 10000.", code="statistics-bad-input"
        )
    generator, count = np.random.default_rng(seed), len(columns)
    means = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        drawn = generator.integers(count, size=(min(RESAMPLES_AT_ONCE, resamples - start), count))
        means.append(columns[drawn].mean(1))
    return np.concatenate(means)


def percentile_interval(draws: Array, estimate: float) -> Interval:
    """Return the middle 95% of the draws, widened if rounding left the estimate itself outside."""
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(min(low, estimate)), float(max(high, estimate)))


def _finite(values: ArrayLike, name: str, shape: str) -> Array:
    """Return values as float64 with the dimensions that `shape` names, once every entry is finite."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ThumbtuneError(
            f"`{name}` is not a complete table of numbers; give every prompt the same seeds.",
            code="statistics-bad-input",
        ) from error
    if array.ndim != len(shape.split(",")):
        raise ThumbtuneError(f"`{name}` has {array.ndim} dimensions; give it as {shape}.", code="statistics-bad-input")
    if array.size == 0:
        raise ThumbtuneError(
            f"`{name}` is empty; statistics need at least one scored prompt.", code="statistics-bad-input"
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ThumbtuneError(
            f"`{name}` contains {bad} NaN or infinite values; score those images again.",
            code="statistics-bad-input",
        )
    return array
