"""The ratings of one column: what they reach to, those that lie far outside, and the lowest that may be a like.

scale       the smallest of 1, 5, 10, 100 that holds all ratings but outliers
outliers    ratings above it: one beside at least ten others, or at most 1% of all
like_from   the usual threshold of the scale (0.5, 4, 7, 70), if some ratings lie on either side of it;
            else the upper median of the ratings that are no outliers
"""

import math
from collections import Counter

from thumbtune.errors import plural

# The greatest number of a scale, and the usual threshold of a like on it.
LIKES_FROM = ((1.0, 0.5), (5.0, 4.0), (10.0, 7.0), (100.0, 70.0), (math.inf, math.inf))
MAX_OUTLIERS = 0.01  # of all ratings
MIN_OTHERS = 10  # ratings beside a lone outlier
MAX_DISTINCT = 1000  # values that are counted one by one; a column of measured scores has as many as rows


class Ratings:
    """The numbers of a column, counted by value."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()
        self._is_whole = True  # whether every value is counted
        self._least, self._greatest = math.inf, -math.inf
        self._like_from: float | None = None  # these two are asked of each row, and change with a rating only
        self._described: str | None = None

    def add(self, rating: float, times: int = 1) -> None:
        """Count a rating, which several rows may have."""
        self._like_from = self._described = None
        self._least, self._greatest = min(self._least, rating), max(self._greatest, rating)
        if rating in self._counts or len(self._counts) < MAX_DISTINCT:
            self._counts[rating] += times
        else:
            self._is_whole = False

    def like_from(self) -> float:
        """Return the lowest rating that is a like, as an example: never above the ratings that are no outliers.

        Raises:
            ValueError: there are no ratings.
        """
        if self._like_from is None:
            usual, bulk = self._scale()
            self._like_from = usual if min(bulk) < usual <= max(bulk) else _upper_median(bulk)
        return self._like_from

    def described(self) -> str:
        """Return what the ratings reach to: `of up to 5`, or `292 ratings are 1 to 5, one is 11`."""
        if self._described is None:
            _, bulk = self._scale()
            outliers = self._counts - bulk
            others = "one is" if outliers.total() == 1 else f"{outliers.total():,} are"
            span = f"{plural(bulk.total(), 'rating is', 'ratings are')} {_span(bulk)}"
            self._described = f"{span}, {others} {_span(outliers)}" if outliers else f"of up to {self._greatest:g}"
        return self._described

    def note(self, like_at: float) -> str | None:
        """Return what is unusual of ratings from `like_at` up as likes: all of one kind, or an outlier; else None."""
        if not self._counts:
            return None
        if like_at > self._greatest or like_at <= self._least:
            is_above = like_at > self._greatest
            side, kind, better = ("every", "dislike", "lower") if is_above else ("no", "like", "higher")
            example = f"; give a {better} number, as in --like-at {self.like_from():g}" if len(self._counts) > 1 else ""
            return f"--like-at {like_at:g} is above {side} rating ({self.described()}), so each is a {kind}{example}."
        _, bulk = self._scale()
        outliers = self._counts - bulk
        if not outliers:
            return None
        is_one = outliers.total() == 1
        kind = "like" if min(outliers) >= like_at else "dislike"
        counted = f"it is a {kind}" if is_one else f"they are {kind}s" if kind == "like" else "some are dislikes"
        return f"{self.described()}; {counted}: correct {'it' if is_one else 'them'} in the source if that is a slip."

    def _scale(self) -> tuple[float, Counter[float]]:
        """Return the usual threshold of the scale, and the ratings on it."""
        for greatest, usual in LIKES_FROM:
            bulk = Counter({value: number for value, number in self._counts.items() if value <= greatest})
            above = self._counts.total() - bulk.total()
            if above == 0 or (self._is_whole and self._are_few(above, bulk.total())):
                return usual, bulk
        raise ValueError("there are no ratings")

    @staticmethod
    def _are_few(above: int, others: int) -> bool:
        return others >= MIN_OTHERS and (above == 1 or above <= MAX_OUTLIERS * (above + others))


def _upper_median(ratings: Counter[float]) -> float:
    """Return the upper median, or the second lowest value if that is the lowest, which would make all of them likes."""
    values, before = sorted(ratings), 0
    for value in values:
        before += ratings[value]
        if 2 * before > ratings.total():
            return value if value > values[0] or len(values) == 1 else values[1]
    raise ValueError("there are no ratings")


def _span(ratings: Counter[float]) -> str:
    least, greatest = min(ratings), max(ratings)
    return f"{least:g}" if least == greatest else f"{least:g} to {greatest:g}"
