"""The list of a folder's images, metadata.jsonl: one row an image, as Hugging Face's imagefolder reads it.

Columns that a person adds, such as a label, stay when an image is generated again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from thumbtune import locks
from thumbtune.errors import ThumbtuneError, UsageError, reason
from thumbtune.files import write_text

LIST = "metadata.jsonl"
LOCK = ".metadata.lock"
MAX_WAIT = 30.0  # seconds for another process, which holds the lock while it writes the file
LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}  # some readers split lines there


def read_list(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a folder's list by file name, in their order; none if there is no list.

    Raises:
        UsageError: a line is not a JSON object with a file_name.
    """
    try:
        lines = (folder / LIST).read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as error:
        raise _unreadable(folder, reason(error)) from error
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[row["file_name"]] = dict(row)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _unreadable(folder, f"line {number} is not a JSON object with a file_name") from error
    return rows


def add_to_list(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a folder's list; a row of the same file name takes the new values, and keeps its other columns.

    Raises:
        UsageError: the list cannot be read.
        ThumbtuneError: another process writes it, or the disk is full.
    """

    end = monotonic() + MAX_WAIT
    while True:
        try:
            with locks.held(folder / LOCK, lambda owner: _Busy(_busy(folder, owner), code="image-list-busy")):
                listed = read_list(folder)
                for row in rows:
                    name = row["file_name"]
                    listed[name] = {**listed.get(name, {}), **row}
                write_text(folder / LIST, "".join(f"{_line(row)}\n" for row in listed.values()))
                return
        except _Busy:
            if monotonic() > end:
                raise
            sleep(0.05)


class _Busy(ThumbtuneError):
    """Another process holds the lock of the list."""


def _busy(folder: Path, owner: str) -> str:
    return f"{folder / LIST} is being written by {owner}; wait for it, then run the same command again."


def _line(row: Mapping[str, Any]) -> str:
    line = json.dumps(row, ensure_ascii=False)
    if not line.isascii() and line != line.encode("utf-8", "replace").decode():  # a person's half of a character
        return json.dumps(row)
    for letter, escaped in LINE_ENDS.items():
        line = line.replace(letter, escaped)
    return line


def _unreadable(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"{folder / LIST} cannot be read ({why}), and generated images are listed there; mend it, or choose another "
        "folder with --out.",
        code="image-list-unreadable",
    )
