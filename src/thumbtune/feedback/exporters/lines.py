"""Format the cells of a row as one line of JSON."""

import json
from collections.abc import Mapping
from datetime import datetime

LINE_ENDS = (0x85, 0x2028, 0x2029)  # plain characters in JSON, but line ends for many programs


def line_of(cells: Mapping[str, object]) -> str:
    """Return all cells as JSON, with null for unknown values and times in ISO 8601."""
    line = json.dumps(cells, ensure_ascii=False, default=_format_time)
    for code in LINE_ENDS:
        line = line.replace(chr(code), f"\\u{code:04x}")
    return line


def _format_time(cell: object) -> str:
    assert isinstance(cell, datetime)
    return cell.isoformat()
