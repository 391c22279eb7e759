"""Find the column of images by its cells, in a table that calls it by an unusual name."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import PurePath

from thumbtune.feedback.quoting import listed, named
from thumbtune.feedback.reading.cells import is_blank
from thumbtune.feedback.reading.columns import Columns
from thumbtune.feedback.reading.image_cells import is_image, unwrapped
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES

SAMPLED_ROWS = 100
MAX_NAME = 1000  # characters of the name of a file
SEVERAL = "its columns {names} all contain images; name the one that counts, as in --map image={first}"
NO_IMAGE = "none of its columns ({columns}) contains images; name the column of images, as in --map image=jpg"

Exists = Callable[[object], bool]  # whether a cell names a file that exists


def may_be_image(cell: object) -> bool:
    """Return whether a cell holds an image or the name of an image file, and not other text."""
    if isinstance(cell, dict):
        return "bytes" in cell or "path" in cell
    return is_image(cell) or (isinstance(cell, str) and has_image_suffix(cell))


def has_image_suffix(name: str) -> bool:
    """Return whether a name or an address ends as those of images do."""
    return PurePath(name.strip().partition("?")[0]).suffix.lower() in IMAGE_SUFFIXES


def find_images(columns: Columns, rows: Iterable[Record | None], exists: Exists) -> tuple[str | None, str | None]:
    """Return the only column of a table whose cells are images; or None, and why there is none."""
    sample = [row for row in islice(rows, SAMPLED_ROWS) if row]
    known = {name for key, names in columns.names.items() if key != "image" for name in names}
    cells: dict[str, list[object]] = {}
    for row in sample:
        for name, cell in row.items():
            if name not in known and not is_blank(unwrapped(cell)):
                cells.setdefault(name, []).append(cell)
    found = [name for name, each in cells.items() if all(may_be_image(cell) for cell in each)]
    if not found or len(found) > 1:
        there = [name for name in found or cells if all(_is_name(cell) and exists(cell) for cell in cells[name])]
        found = there if len(there) == 1 or not found else found
    if len(found) == 1:
        return found[0], None
    if found:
        return None, SEVERAL.format(names=listed(found), first=named(found[0]))
    return None, NO_IMAGE.format(columns=listed(sample[0] if sample else ()))


def _is_name(cell: object) -> bool:
    """Return whether a cell may be the name of a file: a short text with a letter."""
    return isinstance(cell, str) and len(cell) < MAX_NAME and any(character.isalpha() for character in cell)
