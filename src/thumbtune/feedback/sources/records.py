"""Rows of whatever holds rows: the tables of `rows.py`, and lists of objects in JSON, read item by item."""

import json
from collections.abc import Iterator, Mapping
from io import TextIOBase
from itertools import count
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.sources.rows import METADATA_SUFFIXES, Record, count_rows, read_rows

JSON_LIST = ".json"
RECORD_SUFFIXES = (*METADATA_SUFFIXES, JSON_LIST)
CHUNK = 1 << 16  # characters of JSON that are read at once
LONGEST = 1 << 26  # characters of one item: far above any row with names, far below what fills a memory
FIRST_LINE = 1 << 20  # bytes within which a first line ends, to be looked at while guessing what a file is
SPACE = " \t\r\n"
NUMBER = "0123456789.eE+-"

Columns = Mapping[str, str]
AS_NAMED: Columns = {}


def read_records(file: Path, columns: Columns = AS_NAMED) -> Iterator[tuple[str, Record | None]]:
    """Each row with where it stands, its columns in lower case. What is no JSON object comes as None.

    `columns` adds our names for columns; it maps them to the table's, dots reaching into nested cells.

    Raises:
        ThumbtuneError: the file cannot be read, or is not what its name says.
    """
    if file.suffix.lower() not in RECORD_SUFFIXES:
        raise ThumbtuneError(f"{file} is no {', '.join(RECORD_SUFFIXES[:-1])} or {RECORD_SUFFIXES[-1]} file; give one.")
    for where, row in _json_list(file) if file.suffix.lower() == JSON_LIST else read_rows(file):
        ours = {name: _reach(row or {}, theirs) for name, theirs in columns.items()}
        yield where, row if row is None else {**row, **ours}


def count_records(file: Path) -> int:
    """About how many rows there are; 0 for JSON, which does not say."""
    return 0 if file.suffix.lower() == JSON_LIST else count_rows(file)


def first_record(file: Path) -> Record | None:
    """The first row of a file, to recognise it by, or None. Quick, and it never raises."""
    try:
        suffix = file.suffix.lower()
        if suffix not in RECORD_SUFFIXES or not file.is_file():
            return None
        if suffix == ".parquet":
            return _first_of_parquet(file)
        if suffix != JSON_LIST and not _first_line_is_short(file):
            return None
        return next((row for _, row in read_records(file)), None)
    except Exception:  # a stranger's file may break a parser in any way; then it is simply not recognised
        return None


def _reach(row: Record, name: str) -> object:
    if name.lower() in row:
        return row[name.lower()]
    first, *rest = name.split(".")
    cell = row.get(first.lower())
    for key in rest:
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell


def _first_of_parquet(file: Path) -> Record | None:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file, buffer_size=CHUNK) as table:  # without a buffer, it reads whole groups of rows
        batch = next(table.iter_batches(batch_size=1), None)
    rows = [] if batch is None else batch.to_pylist()
    return {key.strip().lower(): cell for key, cell in rows[0].items()} if rows else None


def _first_line_is_short(file: Path) -> bool:
    with file.open("rb") as lines:
        start = lines.readline(FIRST_LINE)
    return len(start) < FIRST_LINE


def _json_list(file: Path) -> Iterator[tuple[str, Record | None]]:
    try:
        with file.open(encoding="utf-8-sig") as text:
            for number, item in enumerate(_items(text, file), start=1):
                row = {key.strip().lower(): cell for key, cell in item.items()} if isinstance(item, dict) else None
                yield f"{file.name}, item {number}", row
    except UnicodeDecodeError as error:
        raise ThumbtuneError(f"{file} is not UTF-8 text; save it again as UTF-8.") from error
    except OSError as error:
        raise ThumbtuneError(f"{file} could not be read ({error.strerror or error}); check the file.") from error


def _items(text: TextIOBase, file: Path) -> Iterator[object]:
    """The items of a list in JSON, with no more than one of them in memory."""
    rest = _filled(text, "")
    if not rest.startswith("["):
        raise ThumbtuneError(f"{file} is no list in JSON; save its rows as [{{...}}, {{...}}] or as JSON lines.")
    rest = _filled(text, rest[1:])
    if rest.startswith("]"):
        return
    for number in count(1):
        item, rest = _item(text, rest, f"{file} is damaged at item {number}; export it again.")
        yield item
        rest = _filled(text, rest)
        mark, rest = rest[:1], _filled(text, rest[1:])
        if mark == "]":
            return
        if mark != ",":
            raise ThumbtuneError(f"{file} is damaged after item {number}; export it again.")


def _filled(text: TextIOBase, rest: str) -> str:
    """What is left, without white space in front, with more of the file behind it where nothing is left."""
    rest = rest.lstrip(SPACE)
    while not rest and (more := text.read(CHUNK)):
        rest = more.lstrip(SPACE)
    return rest


def _item(text: TextIOBase, rest: str, damaged: str) -> tuple[object, str]:
    """One item, and what follows it. It is read in ever larger pieces until it is whole."""
    while True:
        try:
            item, end = json.JSONDecoder().raw_decode(rest)
        except RecursionError as error:
            raise ThumbtuneError(damaged) from error
        except ValueError:
            item, end = None, 0
        # Of "[12.5]", a piece may end after "12": what could be the middle of a number is not whole yet.
        if end and not (isinstance(item, (int, float)) and rest[end : end + 1] in NUMBER):
            return item, rest[end:]
        more = text.read(max(CHUNK, len(rest))) if len(rest) <= LONGEST else ""
        if not more and not end:
            raise ThumbtuneError(damaged)
        if not more:
            return item, rest[end:]
        rest += more
