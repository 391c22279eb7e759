"""The cells of a row as one line of JSON."""

import json
from collections.abc import Mapping
from datetime import datetime

ENDS_OF_LINES = (0x85, 0x2028, 0x2029)  # which JSON takes as they are, and many programs for the end of a line


def line_of(cells: Mapping[str, object]) -> str:
    """All cells, the empty ones too, which say that nothing is known; moments in ISO 8601."""
    line = json.dumps(cells, ensure_ascii=False, default=_moment)
    for code in ENDS_OF_LINES:
        line = line.replace(chr(code), f"\\u{code:04x}")
    return line


def _moment(cell: object) -> str:
    assert isinstance(cell, datetime)
    return cell.isoformat()
