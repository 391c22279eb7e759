"""Decide whether a cell is a like or a dislike: from words, emoji, numbers, or ratings with a threshold.

`vocabulary` lists the words. Words of one's own go before them, and before numbers.

A bare number is a label only if its whole column contains labels, which one row cannot show:

    column contains     1       0            -1        3, 4/5, ★★★☆☆
    0 and 1             like    dislike
    -1, 0 and 1         like    no label     dislike
    any other number    no label: `like_at` must give the lowest rating that is a like
    with `like_at`      at least `like_at` is a like, less is a dislike
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from thumbtune.feedback.quoting import named, shown
from thumbtune.feedback.reading.ratings import Ratings
from thumbtune.feedback.reading.vocabulary import (
    DISLIKE,
    FORMS,
    LIKE,
    MAX_PHRASE,
    PAIRED_WORDS,
    SKIP,
    WORDS,
    label_of_phrase,
    plain,
)

YES = frozenset(word for word, liked in WORDS.items() if liked)
NO = frozenset(word for word, liked in WORDS.items() if not liked)
RATINGS = ("stars", "rating", "score")  # columns in which a 1 without any 0 is no label
NUMBER_LABELS = {1.0: True, 0.0: False, -1.0: False}
NEITHER = frozenset(map(plain, ("meh", "neutral", "ok", "okay", "so-so", "unsure", "mixed", "average", "medium", "?")))
MAX_LABEL_LENGTH = MAX_PHRASE  # characters; a longer text is no label

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_OUT_OF = re.compile(r"([^/]+?)\s*/\s*\d+", re.ASCII)
_STARS = re.compile(r"([★⭐🌟]+)[☆✩]*")


class ReadLabel(NamedTuple):
    """The label of a row; or why there is none, and the word that was not read, or whether the row is to be skipped."""

    liked: bool | None = None
    problem: str | None = None
    unread: str | None = None
    skipped: bool = False


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
    """Return the label of a truth value, a word or a short phrase; None for any other cell."""
    if isinstance(cell, bool):
        return cell
    return label_of_phrase(cell) if isinstance(cell, str) and len(cell) <= MAX_LABEL_LENGTH else None


class Scale:
    """The meaning of one column of labels, from `like_at`, from words of one's own, and from the rows that were added.

    `own` holds the plain form of each such word, and its meaning: like, dislike or skip.
    """

    def __init__(self, like_at: float | None = None, name: str = "", own: Mapping[str, str] | None = None) -> None:
        self.like_at = like_at
        self.own = own or {}
        self.rates = name.rpartition(".")[2] in RATINGS  # by its name; then 1 is the worst, unless there is a 0
        self.ratings = Ratings()  # all numbers
        self.is_rated = False  # whether some number is no label
        self.minus = False  # whether some row says -1, so that 0 is no label
        self.has_numbers = False
        self._sides: set[bool] = set()  # of the words that count only beside their opposite, as pass and fail

    def add(self, cell: object, times: int = 1) -> None:
        """Add the label of a row, or of several rows alike."""
        if isinstance(cell, bool) or self._meaning(cell) is not None:
            return
        stars, number = _numbers_of(cell)
        rating = number if stars is None else stars
        if rating is not None:
            self.has_numbers = True
            self.ratings.add(rating, times)
        if stars is None and number in NUMBER_LABELS:
            self.minus = self.minus or number == -1
            self.rates = self.rates and number == 1
        elif rating is not None:
            self.is_rated = True
        elif (side := _paired(cell)) is not None:
            self._sides.add(side)

    def liked(self, cell: object) -> bool | None:
        """Return the label of a cell; None if it has none."""
        if (meaning := self._meaning(cell)) is not None:
            return {LIKE: True, DISLIKE: False}.get(meaning)
        stars, number = _numbers_of(cell)
        rating = number if stars is None else stars
        if rating is None:
            liked = word_of(cell)
            return _paired(cell) if liked is None and len(self._sides) > 1 else liked
        if self.like_at is not None:
            return rating >= self.like_at
        if stars is not None or self.rates or self.is_rated or (number == 0 and self.minus):
            return None
        return NUMBER_LABELS.get(rating)

    def skips(self, cell: object) -> bool:
        """Return whether a cell has a word of one's own that is to be left out."""
        return self._meaning(cell) == SKIP

    def described(self) -> str:
        """Return how the numbers of the column are read, in words; nothing if it has none."""
        if self.like_at is not None:
            return f"(>= {self.like_at:g} is a like)"
        if not self.has_numbers or self.rates or self.is_rated:
            return ""
        return "(1 is a like, -1 a dislike)" if self.minus else "(1 is a like, 0 a dislike)"

    def problem_of(self, name: str, cell: object) -> str | None:
        """Return why a filled cell of the column `name` has no label; None if there is no specific reason."""
        stars, number = _numbers_of(cell)
        rating = number if stars is None else stars
        if rating is None and word_of(cell) is None and cell is not None:
            return (
                f"its {named(name)} {shown(cell)} is neither like nor dislike; give its meaning, as in --map-label "
                f"{mapping_of(cell)}, or name another column, as in --map label=opinion"
            )
        if rating is None or self.like_at is not None:
            return None
        if rating == 0 and self.minus and not self.is_rated:
            return f"its {named(name)} 0 is no label, since other rows contain -1; write 1 or -1, or remove it"
        return (
            f"its {named(name)} {shown(cell)} looks like a rating ({self.ratings.described()}), not a label; "
            f"give the lowest rating that is a like, as in --like-at {self.ratings.like_from():g}"
        )

    def note(self) -> str | None:
        """Return what is unusual of `like_at` for these ratings, as `Ratings.note`; None without `like_at`."""
        return None if self.like_at is None else self.ratings.note(self.like_at)

    def _meaning(self, cell: object) -> str | None:
        return self.own.get(plain(cell)) if self.own and isinstance(cell, str | int | float) else None


def notes_of(scales: Mapping[str, Scale]) -> list[str]:
    """Return what is unusual of `like_at` for the ratings of each column, with its name."""
    return [f"{named(name)}: {note}" for name, scale in scales.items() if (note := scale.note()) is not None]


def mapping_of(cell: object, meaning: str = LIKE) -> str:
    """Return the value of --map-label that reads a cell, in quotes: the word as it is written, and a meaning.

    A word for neither, such as meh, is skipped.
    """
    meaning = SKIP if plain(cell) in NEITHER else meaning
    word = " ".join(str(cell)[:MAX_LABEL_LENGTH].replace(",", " ").replace("'", " ").split()) or "?"
    return f"'{word}={meaning}'"


def _paired(cell: object) -> bool | None:
    return PAIRED_WORDS.get(cell.strip().lower()) if isinstance(cell, str) and len(cell) < MAX_LABEL_LENGTH else None


def _numbers_of(cell: object) -> tuple[float | None, float | None]:
    """Return the number of a written rating, and the bare number; both are None for a truth value."""
    return (None, None) if isinstance(cell, bool) else (stars_of(cell), number_of(cell))
