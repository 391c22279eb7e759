"""Decide whether a cell is a like or a dislike: from words, emoji, numbers, or ratings with a threshold.

A bare number is a label only if its whole column contains labels, which one row cannot show:

    column contains     1       0            -1        3, 4/5, ★★★☆☆
    0 and 1             like    dislike
    -1, 0 and 1         like    no label     dislike
    any other number    no label: `like_at` must give the lowest rating that is a like
    with `like_at`      at least `like_at` is a like, less is a dislike
"""

import math
import re
from decimal import Decimal

from thumbtune.feedback.quoting import named, shown

YES = frozenset(
    """true t yes y like liked likes good pos positive up upvote upvoted thumbup thumbsup 👍
    ja oui sí si sim tak da да wahr vrai verdadero vero verdadeiro waar prawda""".split()
)
NO = frozenset(
    """false f no n dislike disliked dislikes bad neg negative down downvote downvoted thumbdown thumbsdown 👎
    nein non não nao nee nej nie net нет falsch faux falso onwaar fałsz""".split()
)
# Emoji may have a skin tone, and a character that selects the coloured or the plain form.
FORMS = dict.fromkeys([0xFE0E, 0xFE0F, *range(0x1F3FB, 0x1F400)])
RATINGS = ("stars", "rating", "score")  # columns in which a 1 without any 0 is no label
NUMBER_LABELS = {1.0: True, 0.0: False, -1.0: False}
MAX_LABEL_LENGTH = 60  # characters; a longer text is no label
# The greatest number of a scale, and the usual threshold of a like on it.
LIKES_FROM = ((1.0, "0.5"), (5.0, "4"), (10.0, "7"), (math.inf, "70"))

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_OUT_OF = re.compile(r"([^/]+?)\s*/\s*\d+", re.ASCII)
_STARS = re.compile(r"([★⭐🌟]+)[☆✩]*")


def number_of(cell: object) -> float | None:
    """Return the finite number in a cell: 4, "4", or "4,5" with a decimal comma; else None."""
    if isinstance(cell, str):
        text = cell.strip() if len(cell) <= MAX_LABEL_LENGTH else ""
        cell = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None
    if cell is None or not isinstance(cell, (int, float, Decimal)):
        return None
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def stars_of(cell: object) -> float | None:
    """Return the number of a rating that is written as 4/5 or ★★★★☆; else None."""
    if not isinstance(cell, str) or len(cell) > MAX_LABEL_LENGTH:
        return None
    text = cell.strip().translate(FORMS)
    if (stars := _STARS.fullmatch(text)) is not None:
        return float(len(stars[1]))
    out_of = _OUT_OF.fullmatch(text)
    return number_of(out_of[1]) if out_of else None


def word_of(cell: object) -> bool | None:
    """Return the label of a truth value or a word; None for any other cell."""
    if isinstance(cell, bool):
        return cell
    if not isinstance(cell, str) or len(cell) > MAX_LABEL_LENGTH:
        return None
    word = cell.strip().lower().translate(FORMS)
    if word.startswith("thumb"):
        word = re.sub(r"[\s_-]", "", word)
    return True if word in YES else False if word in NO else None


class Scale:
    """The meaning of the numbers in one column of labels, from `like_at` or from the rows that were added."""

    def __init__(self, like_at: float | None = None, name: str = "") -> None:
        self.like_at = like_at
        self.rates = name.rpartition(".")[2] in RATINGS  # by its name; then 1 is the worst, unless there is a 0
        self.greatest: float | None = None  # number, in a column of ratings
        self.minus = False  # whether some row says -1, so that 0 is no label

    def add(self, cell: object) -> None:
        """Add a row's label."""
        stars, number = _numbers_of(cell)
        if stars is None and number in NUMBER_LABELS:
            self.minus = self.minus or number == -1
            self.rates = self.rates and number == 1
        elif (rating := number if stars is None else stars) is not None:
            self.greatest = max(rating, rating if self.greatest is None else self.greatest)

    def liked(self, cell: object) -> bool | None:
        """Return the label of a cell; None if it has none."""
        stars, number = _numbers_of(cell)
        rating = number if stars is None else stars
        if rating is None:
            return word_of(cell)
        if self.like_at is not None:
            return rating >= self.like_at
        if stars is not None or self.rates or self.greatest is not None or (number == 0 and self.minus):
            return None
        return NUMBER_LABELS.get(rating)

    def problem_of(self, name: str, cell: object) -> str | None:
        """Return why a filled cell of the column `name` has no label; None if there is no specific reason."""
        stars, number = _numbers_of(cell)
        rating = number if stars is None else stars
        if rating is None and word_of(cell) is None and cell is not None:
            return (
                f"its {named(name)} {shown(cell)} is neither like nor dislike; write like or dislike, yes or no, "
                "1 or 0, or name another column, as in --map label=opinion"
            )
        if rating is None or self.like_at is not None:
            return None
        if rating == 0 and self.minus and self.greatest is None:
            return f"its {named(name)} 0 is no label, since other rows contain -1; write 1 or -1, or remove it"
        greatest = max(rating, rating if self.greatest is None else self.greatest)
        like_at = next(advice for most, advice in LIKES_FROM if greatest <= most)
        return (
            f"its {named(name)} {shown(cell)} looks like a rating (of up to {greatest:g}), not a label; "
            f"give the lowest rating that is a like, as in --like-at {like_at}"
        )


def _numbers_of(cell: object) -> tuple[float | None, float | None]:
    """Return the number of a written rating, and the bare number; both are None for a truth value."""
    return (None, None) if isinstance(cell, bool) else (stars_of(cell), number_of(cell))
