"""Read which of two images won, from the column of a table that says so.

    image_a, image_b     a, b; A, B; left, right; first, second; the name of the column; the name of the image itself
    image_0, image_1     0, 1: of these columns, 0 is the first
    image_1, image_2     1, 2; if the column has a 0 and no 2, it may count from 0 or mean a tie: it is refused
    image_a, image_b     1, 2; and 0, 1 in a column that names one (winner, choice, better): in others, such as label
                         or preference, a 1 may mean that the first is better: it is refused
    any                  tie, both, neither, equal, draw, 0.5

All values of a column decide together what its numbers mean; --map-label '0=first,1=second,2=tie' decides the rest.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import PureWindowsPath

from thumbtune.feedback.quoting import named, shown
from thumbtune.feedback.reading.cells import is_blank
from thumbtune.feedback.reading.labels import number_of
from thumbtune.feedback.reading.own_words import FIRST, SECOND, SKIP, TIE
from thumbtune.feedback.reading.record import squeezed
from thumbtune.feedback.reading.vocabulary import plain

SIDE_WORDS = {
    **dict.fromkeys(("a", "left", "first", "l", "one", "image a"), FIRST),
    **dict.fromkeys(("b", "right", "second", "r", "two", "image b"), SECOND),
}
# How a column of winners may call one of the two images, by what differs in their columns.
FORMS_OF_A_SIDE = (
    *("{}", "image {}", "image{}", "model {}", "model{}", "img {}", "{} image", "option {}", "picture {}"),
    *("{} is better", "image {} is better", "{} wins", "prefer {}"),
)
TIE_WORDS = frozenset(
    """tie tied both neither equal equals same draw none ties bothgood bothbad tiebothbad tiebothgood nopreference
    nodifference indifferent similar aboutthesame equallygood equallybad bothequal eithers either""".split()
)
# Columns that name the better one; others, such as `label` or `preference`, may hold how true "the first is better" is.
NAMING = frozenset(
    """winner win winning choice chosen preferred better best selected selection pick picked answer bestimage
    preferredimage winnerimage chosenimage selectedimage betterimage winnerindex bestindex choiceindex
    winnerid bestimageuid winnermodel preferredmodel""".split()
)
OTHERS = frozenset(
    "label preference preferences pref vote result outcome verdict judgement judgment humanpreference "
    "overallpreference annotation rating feedback humanlabel humanchoice".split()
)
LOSING = frozenset(
    "loser losing lost worse worst rejected unchosen dispreferred worseimage rejectedimage loserid".split()
)
HALF, TWO = 0.5, 2.0
AMBIGUOUS = (
    "its {name} {cell} may mean either image, as the column contains {values}; say which, as in --map-label '{example}'"
)
UNKNOWN = (
    "its {name} {cell} names neither of the two images nor a tie; correct it, or give its meaning, as in --map-label "
    "{mapping}=first"
)
BOTH_SIDES = (
    "its {name} {cell} names one image as a side and the other as a file, an id or a model; correct it, or give its "
    "meaning, as in --map-label {mapping}=first"
)
DISAGREE = (
    "its {name} {cell} and its {other} {value} do not agree on which image is better; correct the row, or say which "
    "column counts, as in --map winner={name}"
)
MAX_VALUES = 20  # different numbers of a column that are looked at


class Winners:
    """The meaning of one column of winners.

    sides:  the names of the two columns of images, and what differs in them, as ("a", "b")
    cells:  yields all cells of the column; they are read only if a cell is a number
    own:    words of one's own, in their plain form, and their meaning: first, second, tie or skip
    """

    def __init__(
        self,
        name: str,
        sides: tuple[tuple[str, str], tuple[str, str]],
        cells: Callable[[], Iterable[object]],
        own: Mapping[str, str],
    ) -> None:
        self.name, self.own, self._cells = name, own, cells
        self.columns, self.markers = sides
        self._words = dict(SIDE_WORDS)
        for side, column, marker in zip((FIRST, SECOND), self.columns, self.markers, strict=True):
            self._words |= {plain(column): side, plain(squeezed(column)): side}
            forms = FORMS_OF_A_SIDE[number_of(marker) is not None :]  # a number alone is decided by all numbers
            self._words |= {plain(form.format(marker)): side for form in forms}

    def result(self, cell: object, names: Iterable[tuple[object, object]]) -> str | None:
        """Return first, second, tie or skip; None for a blank cell, which nobody judged.

        `names` are what else may name the two images: their files, ids, or models.

        Raises:
            ValueError: the cell names neither image, or may mean both.
        """
        if is_blank(cell):
            return None
        key = plain(cell) if isinstance(cell, str | int | float) else ""
        if key in self.own:
            return self.own[key]
        number = None if isinstance(cell, bool) else number_of(cell)  # True may mean that the first is better
        word = str(cell).strip() if number is None else f"{number:g}"
        sides = _sides_named(word, names)
        if number is not None:
            sides |= {self._of_number(number, cell)} if number <= TWO or not sides else set()
        elif (side := self._words.get(key)) is not None:
            sides.add(side)
        elif key.replace(" ", "") in TIE_WORDS:
            sides.add(TIE)
        if len(sides) == 1:
            return sides.pop()
        text = BOTH_SIDES if sides else UNKNOWN
        raise ValueError(text.format(name=named(self.name), cell=shown(cell), mapping=repr(word[:30])[:-1] + "'"))

    def _of_number(self, number: float, cell: object) -> str:
        meaning = self._numbers.get(number)
        if meaning is None:
            values = sorted({*self._values, number})
            example = ",".join(f"{value:g}={side}" for value, side in zip(values[:2], (FIRST, SECOND), strict=False))
            raise ValueError(
                AMBIGUOUS.format(
                    name=named(self.name),
                    cell=shown(cell),
                    values=", ".join(f"{value:g}" for value in values[:MAX_VALUES]),
                    example=example,
                )
            )
        return meaning

    @cached_property
    def _values(self) -> frozenset[float]:
        """The numbers in the column."""
        values = set[float]()
        for cell in self._cells():
            if (number := number_of(cell)) is not None and plain(cell) not in self.own:
                values.add(number)
            if len(values) > MAX_VALUES:
                break
        return frozenset(values)

    @cached_property
    def _numbers(self) -> dict[float, str]:
        """The meaning of the numbers in the column; a number that may mean two things is missing."""
        return meaning_of_numbers(self._values, self.markers, squeezed(self.name) in NAMING)


def meaning_of_numbers(values: frozenset[float], markers: tuple[str, str], names_one: bool) -> dict[float, str]:
    """Return the meaning of the numbers in a column of winners. `markers` are what differs in the columns of images.

    >>> meaning_of_numbers(frozenset({1, 2}), ("a", "b"), False)
    {1.0: 'first', 2.0: 'second', 0.5: 'tie', 0.0: 'tie'}
    >>> meaning_of_numbers(frozenset({0, 1}), ("1", "2"), True)
    {}
    """
    from_zero, from_one = {0.0: FIRST, 1.0: SECOND, HALF: TIE}, {1.0: FIRST, TWO: SECOND, HALF: TIE}
    if not values <= {0.0, HALF, 1.0, TWO}:
        return {}
    first = markers[0].lstrip("0") if markers[0] != "0" else "0"
    if first == "0":
        return {} if TWO in values and 0.0 not in values else from_zero | {TWO: TIE}
    if TWO in values:
        if 0.0 in values and 1.0 in values and first != "1":
            return {}  # 2 or 0 is a tie
        return {} if 0.0 in values and 1.0 not in values else from_one | {0.0: TIE}
    if first == "1":
        return from_one if names_one and 0.0 not in values else {}
    return from_zero if names_one and 0.0 in values else {}


def _sides_named(word: str, names: Iterable[tuple[object, object]]) -> set[str]:
    """Return the sides whose file, id or model has this name, unless both of a kind have it."""
    sides = set[str]()
    for pair in names:
        found = [side for side, each in zip((FIRST, SECOND), pair, strict=True) if _is_named(each, word)]
        sides |= set(found) if len(found) == 1 else set()
    return sides


def _is_named(image: object, word: str) -> bool:
    """Return whether a word is the name of an image or model: the whole name, its last part, or that without suffix."""
    if not isinstance(image, str | int) or is_blank(image):
        return False
    name = str(image).strip()
    if name == word:
        return True
    last = PureWindowsPath(name)
    return word in (last.name, last.stem) and len(word) > 1


__all__ = ["FIRST", "SECOND", "SKIP", "TIE", "Winners", "meaning_of_numbers"]
