"""What somebody's file holds, as it may be shown in a sentence: one short line that any terminal can print."""

import reprlib
from collections.abc import Collection

LONGEST = 60  # characters of a cell: a prompt is recognised by its beginning
MOST = 20  # names in a row

_BRIEF = reprlib.Repr()
_BRIEF.maxother = LONGEST


def shown(cell: object) -> str:
    """Any cell as Python writes it, shortened."""
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return f"of {len(cell)} bytes"
    if isinstance(cell, str):
        return repr(cell if len(cell) <= LONGEST else cell[:LONGEST] + "...")
    try:
        text = _BRIEF.repr(cell)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a cell nested as deeply as can be
        return f"({type(cell).__name__})"
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def named(name: str) -> str:
    """The name of a column, without quotes, shortened and without half characters."""
    return shown(name)[1:-1]


def listed(names: Collection[str]) -> str:
    """Names with commas between them, or "none"."""
    first = ", ".join(named(name) for name, _ in zip(names, range(MOST), strict=False))
    return (first or "none") + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
