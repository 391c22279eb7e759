"""Read small files that people and programs write: bounded in size and time, and checked against a type.

    read_text    a text in UTF-8, or in UTF-16 with its mark; never a folder, and never a pipe that nobody writes to
    read_json    a JSON value of a type, such as a TypedDict; names that the type does not have are left in it
    read_lines   a JSON value on each line; a last line that a crash cut short is left out

Each raises a DocumentFault, which says what is wrong and where in the file. Its callers name the file and the remedy.
"""

import codecs
import errno
import json
import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

MAX_BYTES = 100_000_000
PIPE_SECONDS = 10.0  # without a byte, after which nobody seems to write
PIECE = 1 << 16
MAX_SHOWN = 100  # characters of a reason
MARKS = (  # the longer ones first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class DocumentFault(ValueError):
    """A file cannot be read, or holds something else; the message is a reason, to be put in brackets.

    Args:
        why: the reason.
        kind: missing, unreadable, size, encoding, syntax or shape.
    """

    def __init__(self, why: str, kind: str) -> None:
        super().__init__(why)
        self.kind = kind


def brief(text: object, longest: int = MAX_SHOWN) -> str:
    """Return a text on one line, cut to `longest` characters."""
    line = " ".join(str(text)[: 20 * longest].split())
    return line if len(line) <= longest else f"{line[:longest]}..."


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file without its byte order mark.

    Raises:
        DocumentFault: it is missing, no file, too large or no text.
    """
    data = _read_bytes(path, max_bytes)
    mark, encoding = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start + len(mark)) + 1
        name = encoding.replace("-le", "").replace("-be", "").upper()
        raise DocumentFault(f"line {line} is not {name} text", "encoding") from error


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    try:
        # without O_NONBLOCK, to open a pipe waits for ever for somebody who writes
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(handle)
            if stat.S_ISDIR(status.st_mode):
                raise DocumentFault("it is a folder", "unreadable")
            if status.st_size > max_bytes:
                raise DocumentFault(f"it has {status.st_size:,} bytes, more than {max_bytes:,}", "size")
            return b"".join(_pieces(handle, max_bytes, stat.S_ISREG(status.st_mode)))
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        raise DocumentFault(str(error.strerror), "missing") from error
    except OSError as error:
        raise DocumentFault(error.strerror or brief(error), "unreadable") from error
    except ValueError as error:  # a zero byte in the name
        if isinstance(error, DocumentFault):
            raise
        raise DocumentFault(brief(error), "unreadable") from error


def _pieces(handle: int, max_bytes: int, is_file: bool) -> Iterator[bytes]:
    """Yield the bytes of a file, or of a pipe or device for as long as somebody writes to it."""
    total, until = 0, time.monotonic() + PIPE_SECONDS
    while True:
        try:
            piece = os.read(handle, PIECE)
        except BlockingIOError as error:
            left = until - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise OSError(errno.ETIMEDOUT, "nobody writes to this pipe") from error
            continue
        if not piece:
            if not is_file and not total:
                raise OSError(errno.EPIPE, "it is no file, and empty")
            return
        total += len(piece)
        until = time.monotonic() + PIPE_SECONDS
        if total > max_bytes:
            raise DocumentFault(f"it has more than {max_bytes:,} bytes", "size")
        yield piece


def read_json(path: Path, kind: Any = Any, max_bytes: int = MAX_BYTES) -> Any:
    """Return the JSON value of a file, checked against a type.

    Args:
        kind: what `pydantic.TypeAdapter` takes, such as a TypedDict.

    Raises:
        DocumentFault: it cannot be read, is no JSON, or is of another type.
    """
    return _checked(_parsed(read_text(path, max_bytes)), TypeAdapter(kind))


def read_config(file: Path) -> dict[str, Any] | None:
    """Return the settings in a JSON file; None if there are none that can be read, which loading will report."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_lines(path: Path, kind: Any, max_bytes: int = MAX_BYTES) -> list[Any]:
    """Return the JSON values of a file with one on each line; without a last line that a crash cut short.

    Raises:
        DocumentFault: it cannot be read, or a line is no JSON or of another type.
    """
    adapter = TypeAdapter(kind)
    text = read_text(path, max_bytes)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    values = []
    for number, line in lines:
        try:
            values.append(_checked(_parsed(line), adapter))
        except DocumentFault as fault:
            if fault.kind == "syntax" and number == lines[-1][0] and not text.endswith("\n"):
                break
            raise DocumentFault(f"line {number}: {fault}", fault.kind) from fault
    return values


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DocumentFault("it is nested too deeply", "syntax") from error
    except ValueError as error:
        raise DocumentFault(f"it is not JSON: {brief(error)}", "syntax") from error


def _checked(value: Any, adapter: TypeAdapter[Any]) -> Any:
    """Return the value as it is, once it is of the type; yes and no are no numbers."""
    try:
        adapter.validate_python(value, strict=True)
        return value
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise DocumentFault(f"{brief(name)}: {brief(first['msg'][:1].lower() + first['msg'][1:])}", "shape") from error
