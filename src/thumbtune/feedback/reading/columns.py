"""Which column of somebody's table is which of ours: as they say, or else by its name.

Without a word from them, these names are tried in this order, in any case. The first column that a row fills counts,
with two exceptions. An image itself goes before the name of one. And columns that may all be the label must agree in
each row: that row is refused if one says like and another dislike, as nobody can tell which is meant. A name that is
only likely (a `time`, a `user`) counts where its cell can be meant so: a moment since 2000, a word.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from thumbtune.errors import UsageError
from thumbtune.feedback.reading.cells import is_blank, moment_in, text_in
from thumbtune.feedback.reading.image_cells import is_image, unwrapped
from thumbtune.feedback.reading.record import Record, lowered_name, record_of
from thumbtune.feedback.shown import named, shown

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (
        *("file_name", "image", "file", "filename", "path", "image_path"),
        *("url", "image_url", "jpg", "jpeg", "png", "webp"),
    ),
    "prompt": ("prompt", "text", "caption"),
    "label": ("label", "liked", "like", "thumb", "thumbs", "vote", "rating", "stars", "score"),
    "weight": ("weight",),
    "grade": ("grade",),
    "rater": ("rater", "user", "user_id", "annotator"),
    "reason": ("reason", "comment"),
    "pair": ("pair", "pair_id"),
    "seed": ("seed",),
    "model": ("model", "sd_model_name"),  # the latter is Automatic1111's, in the log of what was saved
    "source": ("source",),
    "created_at": ("created_at", "timestamp", "time"),
    "vote_id": ("vote_id",),
}
NAMES_OF_SOMETHING = ("rater", "reason", "pair")  # the cell is one word or sentence, not an object
IMAGES = ("image", "chosen", "rejected")  # the cell is an image, or names one
FIRST_YEAR = 2000  # a "time" before it is how long something took


Names = Mapping[str, Sequence[str]]  # our name for a column -> what it may be called, the first one that is filled
Named = tuple[str, object]  # the name of a column, and what a row has there
ABSENT = object()


class Columns:
    """The columns of a table by our names. `mapping` is from our names to theirs, `known` all that ours may be called.

    Raises:
        UsageError: one of our names in it is none.
    """

    def __init__(self, mapping: Mapping[str, str], known: Names = COLUMNS) -> None:
        for key in mapping:
            check_key(key, known)
        self.mapped = {key: lowered_name(name) for key, name in mapping.items()}
        meant = set(self.mapped.values())
        guessed = {key: tuple(name for name in names if name not in meant) for key, names in known.items()}
        self.names = guessed | {key: (name,) for key, name in self.mapped.items()}

    def filled_in(self, row: Record, key: str) -> list[Named]:
        """What may be ours in a row, under the names that the table has for it."""
        cells = ((name, cell_in(row, name)) for name in self.names[key])
        return [(name, cell) for name, cell in cells if not is_blank(unwrapped(cell) if key in IMAGES else cell)]

    def labels_in(self, row: Record) -> list[Named]:
        """What may be the label of a row."""
        return self.filled_in(row, "label")

    def ours_in(self, row: Record) -> Record:
        """All other cells of a row, by our names."""
        return {key: self._cell(row, key) for key in self.names if key != "label"}

    def lacks(self, row: Record, key: str) -> bool:
        """Whether a row has no column for this name of ours, not even an empty one."""
        return all(cell_in(row, name, ABSENT) is ABSENT for name in self.names[key])

    def of_labels(self) -> list[str]:
        """The columns, in lower case, without which nobody can tell the labels; a nested one, by its outermost name."""
        return [part for name in self.names["label"] for part in _beginnings(name)]

    def missing_in(self, header: Sequence[str] | None, rows: Iterable[Record | None]) -> tuple[set[str], list[str]]:
        """The mapped columns that a table has not, and the columns that it has.

        The rows are read until all are found: none where the header has them, or not even one they may be nested in.
        """
        seen = dict.fromkeys(lowered_name(name) for name in header or ())
        missing = set(self.mapped.values()).difference(seen)
        never = {name for name in missing if header is not None and not any(part in seen for part in _beginnings(name))}
        if never or not missing:
            return never, list(seen)
        for row in rows:
            missing = {name for name in missing if cell_in(row or {}, name, ABSENT) is ABSENT}
            seen |= dict.fromkeys(row or ())
            if not missing:
                break
        return missing, list(seen)

    def doubled_in(self, header: Sequence[str]) -> list[str]:
        """The names of ours that several columns have."""
        lowered = [lowered_name(name) for name in header]
        return sorted({name for names in self.names.values() for name in names if lowered.count(name) > 1})

    def _cell(self, row: Record, key: str) -> object:
        cells = self.filled_in(row, key)
        if key in IMAGES:
            return next((cell for _, cell in sorted(cells, key=lambda each: _nearness(each[1]))), None)
        surely = {key, self.mapped.get(key)}
        return next((cell for name, cell in cells if name in surely or _can_be(key, cell)), None)


def cell_in(row: Record, name: str, absent: object = None) -> object:
    """The cell of this name. Dots reach into objects, lists (from 0 on) and JSON text, unless a column is called so."""
    if name in row or "." not in name:
        return row.get(name, absent)
    for outer in _beginnings(name)[1:]:
        if outer in row:
            return cell_in(_inside(row[outer]), name[len(outer) + 1 :], absent)
    return absent


def check_key(key: str, known: Names = COLUMNS) -> None:
    """Refuse a name of ours that is none.

    Raises:
        UsageError: it is none.
    """
    if key not in known:
        raise UsageError(
            f"{shown(key)} is nothing that a column can be mapped to; that may be {', '.join(known)}.",
            code="map-unknown-name",
        )


def parse_map(text: str) -> dict[str, str]:
    """Read `image=jpg,prompt=caption,label=liked`: what we call a column, and what the table calls it.

    Which names of ours there are is for the kind of table to say.

    Raises:
        UsageError: it is not so, or names something twice.
    """
    mapping: dict[str, str] = {}
    for part in text.split(","):
        key, equals, name = (piece.strip() for piece in part.partition("="))
        if not (key and equals and name):
            raise UsageError(
                f"{shown(part.strip())} maps nothing; write our name = theirs, as in image=jpg,prompt=caption.",
                code="map-malformed",
            )
        if lowered_name(key) in mapping:
            raise UsageError(f"{named(key)} is mapped twice; name one column.", code="map-repeated")
        mapping[lowered_name(key)] = name
    return mapping


def _beginnings(name: str) -> list[str]:
    """A name and what stands before each of its dots, the longest first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _inside(cell: object) -> Record:
    """What dots reach in a cell: nothing, where it holds one thing."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("{", "["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return {}
    if isinstance(cell, list):
        return {str(number): item for number, item in enumerate(cell)}
    return record_of(cell.items()) if isinstance(cell, Mapping) else {}


def _nearness(cell: object) -> int:
    """How near a cell is to an image: one itself, the name of one, or nothing that names one."""
    return 0 if is_image(cell) else 1 if isinstance(unwrapped(cell), str) else 2


def _can_be(key: str, cell: object) -> bool:
    """Whether a cell can be what the name of its column makes likely."""
    if key == "prompt":
        return isinstance(cell, str | bytes)
    try:
        if key == "created_at":
            moment = moment_in({key: cell}, key)
            return moment is not None and moment.year >= FIRST_YEAR
        return key not in NAMES_OF_SOMETHING or text_in({key: cell}, key) is not None
    except ValueError:
        return False
