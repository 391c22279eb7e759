"""Read rows of .jsonl and .ndjson files, an object a line, and of .json files, a list of objects, one by one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.quoting import listed
from thumbtune.feedback.reading import json_lists, texts
from thumbtune.feedback.reading.record import Record, check_width, record_of

MAX_DOCUMENT = 100_000_000  # characters of a list inside an object; Python objects take up to ten times as much


def rows_of_lines(file: Path, encoding: str | None = None) -> Iterator[tuple[str, Record | None]]:
    """Yield each line with its number; None for a line that is no object."""
    with texts.open_text(file, encoding) as text:
        for number, line in _filled_lines(text, file):
            yield f"{file.name}, line {number}", _object(line, file)


def rows_of_document(file: Path, encoding: str | None = None) -> Iterator[tuple[str, Record | None]]:
    """Yield each object of the file's list; None for an item that is no object.

    `datasets` and other programs also write an object a line into .json files; those are read line by line.

    Raises:
        ThumbtuneError: it is no JSON, not one list of objects, or one inside an object that is too large.
    """
    is_list = _begins_list(file, encoding)
    if not is_list and _is_lines(file, encoding):
        yield from rows_of_lines(file, encoding)
        return
    with texts.open_text(file, encoding) as text:
        items = json_lists.items_of(text, file) if is_list else _list_in(file, _document(text, file))
        for number, item in enumerate(items, start=1):
            yield f"{file.name}, row {number}", _record(item, file)


def _filled_lines(text: TextIO, file: Path) -> Iterator[tuple[int, str | None]]:
    """Yield each line that is not blank, with its number; None for one that is too long."""
    blank = 0
    for number, line in enumerate(texts.lines_of(text), start=1):
        if line is None or not line.isspace():
            yield number, line
        else:
            blank += 1
            texts.check_blank_lines(file, blank, number - blank)


def _record(item: object, file: Path) -> Record | None:
    if not isinstance(item, dict):
        return None
    check_width(file, len(item))
    return record_of(item.items())


def _object(line: str | None, file: Path) -> Record | None:
    try:
        row = json.loads(line or "")
    except (ValueError, RecursionError):
        return None
    return _record(row, file)


def _begins_list(file: Path, encoding: str | None) -> bool:
    with texts.open_text(file, encoding) as text:
        return json_lists.is_list(text)


def _is_lines(file: Path, encoding: str | None) -> bool:
    """Return whether the first line is a whole object and another line follows."""
    with texts.open_text(file, encoding) as text:
        filled = (line for _, line in _filled_lines(text, file))
        return _object(next(filled, None), file) is not None and next(filled, "") != ""


def _document(text: TextIO, file: Path) -> object:
    """Return the document, read as a whole.

    Raises:
        ThumbtuneError: it is too large, or no JSON.
    """
    document = text.read(MAX_DOCUMENT + 1)
    if len(document) > MAX_DOCUMENT:
        raise ThumbtuneError(
            f"{file} is larger than {MAX_DOCUMENT // 1_000_000} MB; "
            "save it as JSON lines (.jsonl), which are read line by line.",
            code="json-too-large",
        )
    try:
        return json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ThumbtuneError(f"{file} is not JSON; export it again.", code="json-invalid") from error


def _list_in(file: Path, document: object) -> list[object]:
    """Return the only list of objects in a document.

    Raises:
        ThumbtuneError: there are several lists, or none.
    """
    fields = document if isinstance(document, dict) else {}
    lists = {
        key: rows for key, rows in fields.items() if isinstance(rows, list) and all(isinstance(r, dict) for r in rows)
    }
    filled = {key: rows for key, rows in lists.items() if rows} or lists
    if len(filled) > 1:
        raise ThumbtuneError(
            f"{file} contains several lists of rows ({listed(filled)}); keep one, or save it as .jsonl.",
            code="json-several-lists",
        )
    if not filled:
        raise ThumbtuneError(
            f"{file} contains no list of objects; "
            "save it as JSON lines, as pandas' to_json(orient='records', lines=True) does.",
            code="json-no-list",
        )
    return next(iter(filled.values()))
