"""Write and read CSV that spreadsheet programs open, without a cell that such a program would run as a formula.

A text that begins like a formula gets an apostrophe before it, which spreadsheet programs show or hide and never run.
Reading our own files takes it away again, so that the text is what it was. Numbers stay numbers.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

APOSTROPHE = "'"
ENDS = "\r\n"  # with "\n" alone, Python would not quote a cell with "\r", which ends a line for every reader
# also behind white space and apostrophes: some programs cut off the former, and the latter must be told from ours;
# the wide forms are formulas to programs with a Chinese or Japanese keyboard
_FORMULA = re.compile("['\\s]*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def harmless(cell: object) -> object:
    """Return a cell that no spreadsheet program runs; a number, or a text that is one, as it is."""
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return APOSTROPHE + cell
    return cell


def original(cell: str) -> str:
    """Return the text of a cell that `harmless` made."""
    return cell[1:] if cell.startswith(APOSTROPHE) and _FORMULA.match(cell) else cell


def csv_of(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV."""
    return _line(header) + "".join(map(_line, rows))


def _line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator=ENDS).writerow([harmless(cell) for cell in cells])
    return out.getvalue().removesuffix(ENDS) + "\n"


def csv_of_records(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV, with all their columns in the order of their first appearance; missing cells are empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = ([row.get(name) for name in names] for row in rows)
    return csv_of(names, (["" if cell is None else cell for cell in row] for row in cells))
