"""Is a cell a like or a dislike? Words, thumbs, numbers, and ratings with the number from which they are likes.

A bare number is a thumb only where its whole column holds thumbs, which one row cannot tell:

    column holds        1       0            -1        3, 4/5, ★★★☆☆
    0 and 1             like    dislike
    -1, 0 and 1         like    no opinion   dislike
    any other number    no thumb: `like_at` must say from which number up they are likes
    with `like_at`      at least `like_at` is a like, less is a dislike
"""

import math
import re
from decimal import Decimal

from thumbtune.feedback.shown import named, shown

YES = frozenset(
    """true t yes y like liked likes good pos positive up upvote upvoted thumbup thumbsup 👍
    ja oui sí si sim tak da да wahr vrai verdadero vero verdadeiro waar prawda""".split()
)
NO = frozenset(
    """false f no n dislike disliked dislikes bad neg negative down downvote downvoted thumbdown thumbsdown 👎
    nein non não nao nee nej nie net нет falsch faux falso onwaar fałsz""".split()
)
# Emoji may carry a skin tone and a mark that asks for the coloured or the plain form.
FORMS = dict.fromkeys([0xFE0E, 0xFE0F, *range(0x1F3FB, 0x1F400)])
RATINGS = ("stars", "rating", "score")  # columns in which 1 alone is no thumb
THUMBS = {1.0: True, 0.0: False, -1.0: False}
LONGEST_LABEL = 60  # characters; what is longer is a text about something else
# The greatest number on a scale, and where people who like something begin on it.
LIKES_FROM = ((1.0, "0.5"), (5.0, "4"), (10.0, "7"), (math.inf, "70"))

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_OUT_OF = re.compile(r"([^/]+?)\s*/\s*\d+", re.ASCII)
_STARS = re.compile(r"([★⭐🌟]+)[☆✩]*")


def number_of(cell: object) -> float | None:
    """The finite number in a cell: 4, "4", "4,5" as spreadsheet programs write it in half of Europe; else None."""
    if isinstance(cell, str):
        text = cell.strip() if len(cell) <= LONGEST_LABEL else ""
        cell = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None
    if cell is None or not isinstance(cell, (int, float, Decimal)):
        return None
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def stars_of(cell: object) -> float | None:
    """The number of a rating that is written as one: 4/5 or ★★★★☆; else None."""
    if not isinstance(cell, str) or len(cell) > LONGEST_LABEL:
        return None
    text = cell.strip().translate(FORMS)
    if (stars := _STARS.fullmatch(text)) is not None:
        return float(len(stars[1]))
    out_of = _OUT_OF.fullmatch(text)
    return number_of(out_of[1]) if out_of else None


def word_of(cell: object) -> bool | None:
    """What a truth value or a word says; None for all else."""
    if isinstance(cell, bool):
        return cell
    if not isinstance(cell, str) or len(cell) > LONGEST_LABEL:
        return None
    word = cell.strip().lower().translate(FORMS)
    if word.startswith("thumb"):
        word = re.sub(r"[\s_-]", "", word)
    return True if word in YES else False if word in NO else None


class Scale:
    """What the numbers in one column of labels mean, from `like_at` or from the rows that were seen."""

    def __init__(self, like_at: float | None = None, name: str = "") -> None:
        self.like_at = like_at
        self.rates = name.rpartition(".")[2] in RATINGS  # as its name says: then 1 is the worst, unless there is a 0
        self.greatest: float | None = None  # of a column with ratings
        self.minus = False  # whether some row says -1, so that 0 is no opinion

    def see(self, cell: object) -> None:
        """Take a row's label into account."""
        stars, number = _numbers_of(cell)
        if stars is None and number in THUMBS:
            self.minus = self.minus or number == -1
            self.rates = self.rates and number == 1
        elif (rating := number if stars is None else stars) is not None:
            self.greatest = max(rating, rating if self.greatest is None else self.greatest)

    def liked(self, cell: object) -> bool | None:
        """Whether the cell says like or dislike; None where it says neither."""
        stars, number = _numbers_of(cell)
        rating = number if stars is None else stars
        if rating is None:
            return word_of(cell)
        if self.like_at is not None:
            return rating >= self.like_at
        if stars is not None or self.rates or self.greatest is not None or (number == 0 and self.minus):
            return None
        return THUMBS.get(rating)

    def why_not(self, name: str, cell: object) -> str | None:
        """Why a filled cell of the column `name` says neither; None where there is no more to say than that."""
        stars, number = _numbers_of(cell)
        rating = number if stars is None else stars
        if rating is None and word_of(cell) is None and cell is not None:
            return (
                f"its {named(name)} {shown(cell)} says neither like nor dislike; write like or dislike, yes or no, "
                "1 or 0, or name another column, as in --map label=opinion"
            )
        if rating is None or self.like_at is not None:
            return None
        if rating == 0 and self.minus and self.greatest is None:
            return f"its {named(name)} 0 is no opinion, as other rows say -1; write 1 or -1, or remove it"
        greatest = max(rating, rating if self.greatest is None else self.greatest)
        like_at = next(advice for most, advice in LIKES_FROM if greatest <= most)
        return (
            f"its {named(name)} {shown(cell)} looks like a rating (of up to {greatest:g}), not a thumb; "
            f"say from which number up they are likes, as in --like-at {like_at}"
        )


def _numbers_of(cell: object) -> tuple[float | None, float | None]:
    """The rating that is written as one, and the bare number; a truth value is neither."""
    return (None, None) if isinstance(cell, bool) else (stars_of(cell), number_of(cell))
