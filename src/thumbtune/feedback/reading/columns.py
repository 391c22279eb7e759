"""Map the columns of a table to ours: as `mapping` says, or else by their names.

Without a mapping, the names in `COLUMNS` are tried in order, in any case and with any character between their words
(image_path, imagePath, "Image path"), and the first filled column counts. There are two exceptions. A cell that holds
an image goes before one that names an image. And all columns that may be the label must agree: a row with a like in
one and a dislike in another is refused. A column with an ambiguous name (`time`, `user`) counts only if its cell fits:
a moment since 2000, a word.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from thumbtune.errors import UsageError
from thumbtune.feedback.quoting import named, shown
from thumbtune.feedback.reading.cells import is_blank, text_in
from thumbtune.feedback.reading.image_cells import is_image, unwrapped
from thumbtune.feedback.reading.moments import FIRST_YEAR, AmbiguousDay, moment_of
from thumbtune.feedback.reading.record import Record, lowered_name, record_of, squeezed

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (
        *(
            "file_name",
            "image",
            "file",
            "filename",
            "path",
            "image_path",
            "image_file",
            "image_name",
            "img",
            "img_path",
        ),
        *("filepath", "picture", "photo", "url", "image_url", "uri", "jpg", "jpeg", "png", "webp"),
    ),
    "prompt": ("prompt", "text", "caption"),
    "syntax": ("prompt_syntax",),  # of our own lists of images (`metadata.generated`)
    "label": ("label", "liked", "like", "thumb", "thumbs", "vote", "rating", "stars", "score", "is_liked"),
    "weight": ("weight",),
    "grade": ("grade",),
    "rater": ("rater", "user", "user_id", "annotator", "rater_id", "annotator_id", "user_name", "voter", "labeler"),
    "reason": ("reason", "comment"),
    "pair": ("pair", "pair_id"),
    "seed": ("seed",),
    "model": ("model", "sd_model_name"),  # sd_model_name is the name in Automatic1111's log of saved images
    "source": ("source",),
    "created_at": (
        *("created_at", "timestamp", "time", "ts", "voted_at", "rated_at", "labeled_at", "labelled_at", "annotated_at"),
        *("created", "created_on", "create_time", "created_time", "creation_time", "date_created", "created_utc"),
        *("datetime", "date_time", "date", "submitted_at", "vote_time", "job_timestamp", "timestamp_ms", "unix_time"),
        *("epoch", "updated_at"),
    ),
    "vote_id": ("vote_id",),
}
SURE_TIMES = frozenset(("created_at", "timestamp", "ts", "voted_at", "rated_at", "created", "datetime", "created_on"))
TEXT_COLUMNS = ("rater", "reason", "pair")  # the cell is a word or sentence, not an object
IMAGES = ("image", "chosen", "rejected")  # the cell holds an image or names one
MAX_PLANS = 1000  # of tables whose rows have different columns

Names = Mapping[str, Sequence[str]]  # our name for a column -> the names that it may have, in order
NamedCell = tuple[str, object]  # the name of a column, and its cell
ABSENT = object()


@dataclass(frozen=True)
class Plan:
    """The columns of rows with the same names: for each of our names, those that may be it, in order.

    others: our names that have a column, but that of the label, each with the column if its cell needs no more looks
    blank: a row by our names without any cell, but that of the label
    """

    names: Mapping[str, tuple[str, ...]]
    has_dots: bool  # whether some of them are nested, so that each row must be looked into
    others: tuple[tuple[str, str | None], ...]
    blank: Record


NO_PLAN = Plan({}, False, (), {})


class Columns:
    """The columns of a table by our names: `mapping` is from our names to theirs, `known` from ours to usual ones.

    `used` notes which columns were read as which of ours, and `seen` all columns of the rows.

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
        self.used: dict[str, dict[str, None]] = {key: {} for key in self.names}
        self.seen: dict[str, None] = {}
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._last: tuple[tuple[str, ...] | None, Plan] = (None, NO_PLAN)

    def filled_in(self, row: Record, key: str) -> list[NamedCell]:
        """Return the filled cells of a row that may be one of our columns, with their names in the table."""
        plan = self._plan_of(row)
        cells = [(name, cell_in(row, name) if plan.has_dots else row[name]) for name in plan.names[key]]
        if key in IMAGES:
            return [(name, cell) for name, cell in cells if not is_blank(unwrapped(cell))]
        return [(name, cell) for name, cell in cells if not is_blank(cell)]

    def labels_in(self, row: Record) -> list[NamedCell]:
        """Return the cells of a row that may be its label."""
        plan = self._plan_of(row)
        if len(plan.names["label"]) == 1 and not plan.has_dots:  # as in most tables
            name, *_ = plan.names["label"]
            labels = [] if _is_empty(row[name], "label") else [(name, row[name])]
        else:
            labels = self.filled_in(row, "label")
        for name, _ in labels:
            self.used["label"][name] = None
        return labels

    def ours_in(self, row: Record) -> Record:
        """Return all other cells of a row, by our names."""
        plan = self._plan_of(row)
        ours = plan.blank.copy()
        for key, column in plan.others:
            if column is None:
                ours[key] = self._cell(row, key)
            elif not _is_empty(cell := row[column], key):
                self.used[key][column] = None
                ours[key] = cell
        return ours

    def lacks(self, row: Record, key: str) -> bool:
        """Return whether a row has no column for this name of ours, not even an empty one."""
        plan = self._plan_of(row)
        if not plan.has_dots:
            return not plan.names[key]
        return all(cell_in(row, name, ABSENT) is ABSENT for name in plan.names[key])

    def of_labels(self) -> list[str]:
        """Return the lower-case names of the columns that labels are read from, and of those they are nested in."""
        return [part for name in self.names["label"] for part in beginnings(name)]

    def missing_in(self, header: Sequence[str] | None, rows: Iterable[Record | None]) -> tuple[set[str], list[str]]:
        """Return the mapped columns that a table lacks, and the columns that it has.

        Rows are read until all are found; none are read if the header decides it.
        """
        seen = dict.fromkeys(lowered_name(name) for name in header or ())
        missing = set(self.mapped.values()).difference(seen)
        never = {name for name in missing if header is not None and not any(part in seen for part in beginnings(name))}
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

    def unread(self) -> list[str]:
        """Return the columns that nothing was read from."""
        read = {part for names in self.used.values() for name in names for part in beginnings(name)}
        return [name for name in self.seen if name not in read]

    def _plan_of(self, row: Record) -> Plan:
        """Return the plan of a row, made once for all rows with the same columns."""
        columns = tuple(row)
        if columns == self._last[0]:
            return self._last[1]
        plan = self._plans.get(columns)
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            if len(self.seen) < MAX_PLANS:
                self.seen |= dict.fromkeys(columns)
            alike = {squeezed(name): name for name in reversed(columns)}
            taken = set(self.mapped.values())
            names = {key: tuple(_there(row, alike, names, taken)) for key, names in self.names.items()}
            has_dots = any(name not in row for each in names.values() for name in each)
            keys = [key for key in names if key != "label"]
            others = tuple((key, None if has_dots else self._only(key, names[key])) for key in keys if names[key])
            blank: Record = {key: None for key in keys}
            plan = self._plans[columns] = Plan(names, has_dots, others, blank)
        self._last = columns, plan
        return plan

    def _only(self, key: str, names: Sequence[str]) -> str | None:
        """Return the only column that may be one of ours, if any cell of it fits that is not blank; else None."""
        is_sure = len(names) == 1 and (key in IMAGES or names[0] in (key, self.mapped.get(key)))
        return names[0] if is_sure else None

    def _cell(self, row: Record, key: str) -> object:
        cells = self.filled_in(row, key)
        if key in IMAGES and len(cells) > 1:
            cells.sort(key=lambda each: _rank(each[1]))
        for name, cell in cells:
            if key in IMAGES or name == key or name == self.mapped.get(key) or _fits(key, name, cell):
                self.used[key][name] = None
                return cell
        return None


def _is_empty(cell: object, key: str) -> bool:
    if type(cell) is str:
        return not cell or cell.isspace()
    return is_blank(unwrapped(cell) if key in IMAGES else cell)


def _there(row: Record, alike: Mapping[str, str], names: Sequence[str], taken: Collection[str]) -> Iterator[str]:
    """Yield the columns of a row that may have one of these names; of a nested name, each row must show it."""
    seen = set[str]()
    for name in names:
        found = name if name in row or "." in name else alike.get(squeezed(name))
        if found is not None and found not in seen and (found == name or found not in taken):
            seen.add(found)
            yield found


def cell_in(row: Record, name: str, absent: object = None) -> object:
    """Return the cell of a name. Dots reach into objects, lists (from 0) and JSON text, unless it names a column."""
    if name in row or "." not in name:
        return row.get(name, absent)
    for outer in beginnings(name)[1:]:
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


def beginnings(name: str) -> list[str]:
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


def _fits(key: str, name: str, cell: object) -> bool:
    """Return whether a cell fits the column of ours that its name suggests."""
    if key == "prompt":
        return isinstance(cell, str | bytes)
    if key == "created_at":
        return name in SURE_TIMES or _is_moment(cell)
    try:
        return key not in TEXT_COLUMNS or text_in({key: cell}, key) is not None
    except ValueError:
        return False


def _is_moment(cell: object) -> bool:
    try:
        return moment_of(cell).year >= FIRST_YEAR
    except AmbiguousDay:
        return True
    except (ValueError, ArithmeticError, OSError, RecursionError):
        return False
