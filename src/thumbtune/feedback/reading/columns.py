"""Map the columns of a table to ours: as `mapping` says, or else by their names.

Without a mapping, the names in `COLUMNS` are tried in order, in any case, and the first filled column counts. There are
two exceptions. A cell that holds an image goes before one that names an image. And all columns that may be the label
must agree: a row with a like in one and a dislike in another is refused. A column with an ambiguous name (`time`,
`user`) counts only if its cell fits: a moment since 2000, a word.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from thumbtune.errors import UsageError
from thumbtune.feedback.quoting import named, shown
from thumbtune.feedback.reading.cells import is_blank, moment_in, text_in
from thumbtune.feedback.reading.image_cells import is_image, unwrapped
from thumbtune.feedback.reading.record import Record, lowered_name, record_of

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
    "model": ("model", "sd_model_name"),  # sd_model_name is the name in Automatic1111's log of saved images
    "source": ("source",),
    "created_at": ("created_at", "timestamp", "time"),
    "vote_id": ("vote_id",),
}
TEXT_COLUMNS = ("rater", "reason", "pair")  # the cell is a word or sentence, not an object
IMAGES = ("image", "chosen", "rejected")  # the cell holds an image or names one
FIRST_YEAR = 2000  # an earlier "time" is a duration


Names = Mapping[str, Sequence[str]]  # our name for a column -> the names that it may have, in order
NamedCell = tuple[str, object]  # the name of a column, and its cell
ABSENT = object()


class Columns:
    """The columns of a table by our names: `mapping` is from our names to theirs, `known` from ours to usual ones.

    Raises:
        UsageError: the mapping has a name that is not ours.
    """

    def __init__(self, mapping: Mapping[str, str], known: Names = COLUMNS) -> None:
        for key in mapping:
            check_key(key, known)
        self.mapped = {key: lowered_name(name) for key, name in mapping.items()}
        mapped_names = set(self.mapped.values())
        unmapped = {key: tuple(name for name in names if name not in mapped_names) for key, names in known.items()}
        self.names = unmapped | {key: (name,) for key, name in self.mapped.items()}

    def filled_in(self, row: Record, key: str) -> list[NamedCell]:
        """Return the filled cells of a row that may be one of our columns, with their names in the table."""
        cells = ((name, cell_in(row, name)) for name in self.names[key])
        return [(name, cell) for name, cell in cells if not is_blank(unwrapped(cell) if key in IMAGES else cell)]

    def labels_in(self, row: Record) -> list[NamedCell]:
        """Return the cells of a row that may be its label."""
        return self.filled_in(row, "label")

    def ours_in(self, row: Record) -> Record:
        """Return all other cells of a row, by our names."""
        return {key: self._cell(row, key) for key in self.names if key != "label"}

    def lacks(self, row: Record, key: str) -> bool:
        """Return whether a row has no column for this name of ours, not even an empty one."""
        return all(cell_in(row, name, ABSENT) is ABSENT for name in self.names[key])

    def of_labels(self) -> list[str]:
        """Return the lower-case names of the columns that labels are read from, and of those they are nested in."""
        return [part for name in self.names["label"] for part in _beginnings(name)]

    def missing_in(self, header: Sequence[str] | None, rows: Iterable[Record | None]) -> tuple[set[str], list[str]]:
        """Return the mapped columns that a table lacks, and the columns that it has.

        Rows are read until all are found; none are read if the header decides it.
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
        """Return our names that several columns share."""
        lowered = [lowered_name(name) for name in header]
        return sorted({name for names in self.names.values() for name in names if lowered.count(name) > 1})

    def _cell(self, row: Record, key: str) -> object:
        cells = self.filled_in(row, key)
        if key in IMAGES:
            return next((cell for _, cell in sorted(cells, key=lambda each: _rank(each[1]))), None)
        certain = {key, self.mapped.get(key)}
        return next((cell for name, cell in cells if name in certain or _fits(key, cell)), None)


def cell_in(row: Record, name: str, absent: object = None) -> object:
    """Return the cell of a name. Dots reach into objects, lists (from 0) and JSON text, unless it names a column."""
    if name in row or "." not in name:
        return row.get(name, absent)
    for outer in _beginnings(name)[1:]:
        if outer in row:
            return cell_in(_inside(row[outer]), name[len(outer) + 1 :], absent)
    return absent


def check_key(key: str, known: Names = COLUMNS) -> None:
    """Refuse a name that is not ours.

    Raises:
        UsageError: it is not.
    """
    if key not in known:
        raise UsageError(
            f"{shown(key)} is not a field of Thumbtune; use one of {', '.join(known)}.",
            code="map-unknown-name",
        )


def parse_map(text: str) -> dict[str, str]:
    """Parse `image=jpg,prompt=caption,label=liked`: our name for a column, and its name in the table.

    Our names are checked later, as they depend on the kind of table.

    Raises:
        UsageError: the text has another form, or maps a name twice.
    """
    mapping: dict[str, str] = {}
    for part in text.split(","):
        key, equals, name = (piece.strip() for piece in part.partition("="))
        if not (key and equals and name):
            raise UsageError(
                f"{shown(part.strip())} is not a mapping; write FIELD=COLUMN, as in image=jpg,prompt=caption.",
                code="map-malformed",
            )
        if lowered_name(key) in mapping:
            raise UsageError(f"{named(key)} is mapped twice; name one column.", code="map-repeated")
        mapping[lowered_name(key)] = name
    return mapping


def _beginnings(name: str) -> list[str]:
    """Return a name and the part before each of its dots, the longest first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _inside(cell: object) -> Record:
    """Return the parts of a cell by name: none, unless it is an object, a list or the JSON of one."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("{", "["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return {}
    if isinstance(cell, list):
        return {str(number): item for number, item in enumerate(cell)}
    return record_of(cell.items()) if isinstance(cell, Mapping) else {}


def _rank(cell: object) -> int:
    """Rank a cell: 0 if it holds an image, 1 if it may name one, 2 for any other."""
    return 0 if is_image(cell) else 1 if isinstance(unwrapped(cell), str) else 2


def _fits(key: str, cell: object) -> bool:
    """Return whether a cell fits the column of ours that its name suggests."""
    if key == "prompt":
        return isinstance(cell, str | bytes)
    try:
        if key == "created_at":
            moment = moment_in({key: cell}, key)
            return moment is not None and moment.year >= FIRST_YEAR
        return key not in TEXT_COLUMNS or text_in({key: cell}, key) is not None
    except ValueError:
        return False
