"""Find the two columns of images in a table of comparisons, and the columns that say which of them is better.

The names of the two differ in one part: a and b, 0 and 1, 1 and 2, left and right, first and second. Columns of each
image, as model_a, seed_1 or label_0, differ in the same part.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from thumbtune.feedback.reading.cells import is_blank
from thumbtune.feedback.reading.content import may_be_image
from thumbtune.feedback.reading.image_cells import is_image, unwrapped
from thumbtune.feedback.reading.record import Record, squeezed
from thumbtune.feedback.sources.winners import LOSING, NAMING, OTHERS

MARKERS = (("a", "b"), ("0", "1"), ("1", "2"), ("left", "right"), ("first", "second"), ("one", "two"), ("01", "02"))
IMAGE_WORDS = frozenset(
    "image img picture photo path file filename url jpg png jpeg webp uri src generation output".split()
)
# What each of the two has, if it is the better one more: one if it won, or the number of votes for it.
WON = frozenset("label vote votes win wins won winner preference preferred iswinner nvotes numvotes votecount".split())
WINNER_NAMES = NAMING | OTHERS
NOT_JUDGED = {"haslabel": False, "aredifferent": False}  # Pick-a-Pic's: a row is left out if it has this value

SIDE_PARTS = {part for each in MARKERS for part in each if part.isalpha()}
# Words that a name may run into the part that differs: imageA is imagea once its case is gone.
GLUED = sorted((*IMAGE_WORDS, *WON, "model", "seed", "label", "uid", "prompt"), key=len, reverse=True)

_PARTS = re.compile(r"[a-z]+|\d+")


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The columns of a table of comparisons.

    images:  the two columns of images
    markers: what differs in their names
    winner:  the column that says which is better; None if `won` does
    won:     two columns with a number for each image: the greater one is better
    also:    other columns that say which is better or, as `loser`, which is not; they must not contradict `winner`
    counts:  other pairs of columns with a number for each image; they must not contradict it either
    """

    images: tuple[str, str]
    markers: tuple[str, str]
    winner: str | None = None
    won: tuple[str, str] | None = None
    also: tuple[str, ...] = ()
    counts: tuple[tuple[str, str], ...] = ()

    def both(self, columns: Mapping[str, object], *words: str) -> tuple[str, str] | None:
        """Return the two columns that hold this of each image, as "model" or "seed"; None if there are none."""
        return next(self.pairs(columns, *words), None)

    def pairs(self, columns: Mapping[str, object], *words: str) -> Iterator[tuple[str, str]]:
        """Yield all two columns that hold one of these of each image."""
        for name, other in _pairs(columns, self.markers):
            if _base(name, self.markers[0]) in words:
                yield name, other


def sides_of(rows: list[Record], winner: str | None = None) -> Sides | None:
    """Return the columns of a table of comparisons by its first rows; None if it does not compare two images.

    `winner` is the column that somebody named. A table that does not say which image is better has neither `winner`
    nor `won`.
    """
    columns = {
        name: [row[name] for row in rows if not is_blank(unwrapped(row.get(name)))] for row in rows for name in row
    }
    candidates = [(pair, markers) for markers in MARKERS for pair in _pairs(columns, markers)]
    found = [(pair, markers) for pair, markers in candidates if all(_are_images(name, columns[name]) for name in pair)]
    if not found:
        return None
    (images, markers) = min(found, key=lambda each: _preference(columns, each[0]))
    sides = Sides(images=images, markers=markers)
    if winner is not None:
        return replace(sides, winner=winner)
    winners = [name for kind in (NAMING, OTHERS, LOSING) for name in columns if squeezed(name) in kind]
    winners = [name for name in winners if name not in images]
    counts = list(sides.pairs(columns, *WON))
    if winners and squeezed(winners[0]) not in LOSING:
        return replace(sides, winner=winners[0], also=tuple(winners[1:]), counts=tuple(counts))
    return replace(sides, won=counts[0] if counts else None, also=tuple(winners), counts=tuple(counts[1:]))


def _pairs(columns: Mapping[str, object], markers: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the columns whose names differ only in these markers."""
    by_parts = {tuple(_parts(name)): name for name in columns}
    for parts, name in by_parts.items():
        for place, part in enumerate(parts):
            if part == markers[0]:
                other = by_parts.get((*parts[:place], markers[1], *parts[place + 1 :]))
                if other is not None:
                    yield name, other


def _parts(name: str) -> list[str]:
    """Return the parts of the name of a column, as image and a of imagea."""
    parts: list[str] = []
    for part in _PARTS.findall(name):
        before = next((word for word in GLUED if part.startswith(word) and part[len(word) :] in SIDE_PARTS), None)
        after = next((word for word in GLUED if part.endswith(word) and part[: -len(word)] in SIDE_PARTS), None)
        if before is not None:
            parts += [before, part[len(before) :]]
        elif after is not None:
            parts += [part[: -len(after)], after]
        else:
            parts.append(part)
    return parts


def _base(name: str, marker: str) -> str:
    """Return the name of a column without the marker and the words for an image: votes of votes_image_a."""
    return "".join(part for part in _parts(name) if part != marker and part not in IMAGE_WORDS)


def _are_images(name: str, cells: list[object]) -> bool:
    """Return whether a column holds images or their names."""
    parts = set(_parts(name))
    if cells and all(may_be_image(cell) or _is_address(cell) for cell in cells):
        return True
    is_named = bool(parts & IMAGE_WORDS) and not parts & {"uid", "id", "size", "width", "height", "model", "seed"}
    return is_named and bool(cells) and all(isinstance(cell, str) and cell.strip()[:1] != "{" for cell in cells)


def _is_address(cell: object) -> bool:
    return isinstance(cell, str) and cell.strip().lower().startswith(("http://", "https://"))


def _preference(columns: Mapping[str, list[object]], pair: tuple[str, str]) -> tuple[bool, bool, int]:
    """Rank two columns of images: those that hold them, then names of files, then addresses."""
    cell = next(iter(columns[pair[0]]), None)
    return not is_image(cell), _is_address(cell), list(columns).index(pair[0])
