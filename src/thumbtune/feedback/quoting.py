"""Shorten the contents of files for errors: to one line that any terminal can print."""

import reprlib
from collections.abc import Collection

MAX_CHARACTERS = 60  # of a cell; a prompt is recognised by its beginning
MAX_NAMES = 20

_BRIEF = reprlib.Repr()
_BRIEF.maxother = MAX_CHARACTERS


def shown(cell: object) -> str:
    """Return any cell as Python writes it, shortened."""
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return f"of {len(cell)} bytes"
    if isinstance(cell, str):
        return repr(cell if len(cell) <= MAX_CHARACTERS else cell[:MAX_CHARACTERS] + "...")
    try:
        text = _BRIEF.repr(cell)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a too deeply nested cell
        return f"({type(cell).__name__})"
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "..."


def named(name: str) -> str:
    """Return the name of a column without quotes, shortened and without half characters."""
    return shown(name)[1:-1]


def listed(names: Collection[str]) -> str:
    """Return names separated by commas, or "none"."""
    first = ", ".join(named(name) for name, _ in zip(names, range(MAX_NAMES), strict=False))
    return (first or "none") + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
