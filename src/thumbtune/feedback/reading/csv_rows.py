"""Read rows of .csv and .tsv files, as spreadsheet programs write them: with one of three delimiters and short rows."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

from thumbtune.feedback.reading import texts
from thumbtune.feedback.reading.record import Record, check_width, lowered_name, record_of

# Spreadsheet programs write semicolons or tabs in countries with decimal commas.
DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t", ",", ";")}
MAX_HEADER_LENGTH = 100_000  # characters that are searched for the delimiter

_SEPARATOR = re.compile(r"sep=([,;|\t])\s*", re.IGNORECASE)  # the first line of some spreadsheet programs


def rows_of(file: Path, kind: str, encoding: str | None = None) -> Iterator[tuple[str, Record | None]]:
    """Yield each row with the line where it ends; None for a row with more cells than the header."""
    with texts.open_text(file, encoding) as text:
        rows = _rows(text, file, DELIMITERS[kind])
        _, header = next(rows, (0, []))
        check_width(file, len(header))
        names, begin = [lowered_name(name) for name in header], f"{file.name}, line "
        is_plain = all(names) and len(set(names)) == len(names)  # then a whole row needs no look at its columns
        for number, cells in rows:
            if is_plain and len(cells) == len(names):
                yield f"{begin}{number}", dict(zip(names, cells, strict=True))
            else:
                yield f"{begin}{number}", _record(header, cells)


def header_of(file: Path, kind: str, encoding: str | None = None) -> list[str]:
    """Return the names of the columns, as written."""
    with texts.open_text(file, encoding) as text:
        _, header = next(_rows(text, file, DELIMITERS[kind]), (0, []))
    check_width(file, len(header))
    return header


def _record(header: Sequence[str], cells: Sequence[str]) -> Record | None:
    """Return a row by the names of its columns. Missing cells are None, as spreadsheet programs leave them out."""
    if any(cell.strip() for cell in cells[len(header) :]):
        return None
    return record_of(zip_longest(header, cells[: len(header)]))


def _rows(text: TextIO, file: Path, delimiters: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of its last line."""
    csv.field_size_limit(max(csv.field_size_limit(), texts.MAX_ROW))  # one limit for the whole process
    lines = _Lines(text, file)
    rows = blank = 0
    beginning = lines.peek()
    if (separator := _SEPARATOR.fullmatch(beginning)) is not None:
        next(lines)
        lines.pulled = 0  # it is no part of the header
        delimiters = (separator[1],)
    for cells in csv.reader(lines, delimiter=_delimiter(beginning, delimiters)):
        lines.pulled = 0
        if any(cell and not cell.isspace() for cell in cells):
            rows += 1
            yield lines.number, cells
        else:
            blank += 1
            texts.check_blank_lines(file, blank, rows)


def _delimiter(header: str, delimiters: tuple[str, ...]) -> str:
    """Return the delimiter that splits the header into most columns."""
    return max(delimiters, key=lambda each: len(next(csv.reader([header[:MAX_HEADER_LENGTH]], delimiter=each), [])))


class _Lines:
    """Lines for the csv module, which by itself reads the rest of a file after an unclosed quote as one cell.

    `pulled` is the number of characters in the row that is being read.
    """

    def __init__(self, text: TextIO, file: Path) -> None:
        self.text = text
        self.file = file
        self.number = 0
        self.pulled = 0
        self.began = 1
        self.waiting: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.waiting.pop() if self.waiting else self.text.readline(texts.MAX_ROW)
        if not self.pulled:
            self.began = self.number + 1
        self.number += 1
        if not line and self.pulled:
            raise csv.Error(f"the quote in line {self.began} is never closed")
        if not line:
            raise StopIteration
        self.pulled += len(line)
        if self.pulled >= texts.MAX_ROW:
            raise csv.Error(f"the row in line {self.began} is longer than {texts.MAX_ROW // 1_000_000} MB")
        return line

    def peek(self) -> str:
        """Return the first line that is not blank, without consuming it; blank lines before it are consumed."""
        line = "\n"
        while line and line.isspace():
            self.number += 1
            texts.check_blank_lines(self.file, self.number - 1, 0)
            line = self.text.readline(texts.MAX_ROW)
        self.number -= 1
        self.waiting.append(line)
        return line
