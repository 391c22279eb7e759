"""Opening a table that is text: plain or gzip-compressed, in UTF-8, or in UTF-16 or 32 where its first bytes say so.

What is in no such encoding is refused, not guessed: old spreadsheet programs write one of a dozen code pages, any
bytes can be read in most of them, and prompts read in the wrong one would be learnt as they stand.
"""

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from thumbtune.errors import ThumbtuneError, UsageError

MAX_ROW = 64_000_000  # characters: an image of 48 MB as base64; what is longer is no row
GZIP = ".gz"
MOST_UNPACKED = 200  # times: text that people wrote shrinks to a tenth, a thousandth is a bomb of one repeated byte
ALWAYS_UNPACKED = 8_000_000  # bytes, however small the file: a short list of alike rows shrinks a lot

# UTF-32 first: in little-endian order its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BEGINNING = 64  # bytes


@contextmanager
def open_text(file: Path, encoding: str | None = None) -> Iterator[TextIO]:
    """Open a text; its lines keep their ends. `encoding` is for what has no mark and is not UTF-8.

    Raises:
        ThumbtuneError: it begins with zero bytes, as UTF-16 does where it has no mark; on the way, it unpacks to
            `MOST_UNPACKED` times its size.
        OSError: it cannot be read.
    """
    raw = _Unpacked(file) if file.name.lower().endswith(GZIP) else file.open("rb")
    with raw:
        beginning = raw.peek(_BEGINNING)[:_BEGINNING]
        marked = next((name for mark, name in _MARKS if beginning.startswith(mark)), None)
        if not (marked or encoding) and b"\0" in beginning:
            raise ThumbtuneError(
                f"{file} begins with zero bytes, as no UTF-8 text does; save it again as UTF-8.", code="text-zero-bytes"
            )
        with io.TextIOWrapper(raw, encoding=marked or encoding or "utf-8", newline="") as text:
            yield text


class _Unpacked(gzip.GzipFile):
    """A compressed file that refuses to unpack to more than such a file can honestly hold."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, "rb")
        self._file = file
        self._most = max(ALWAYS_UNPACKED, MOST_UNPACKED * file.stat().st_size)

    def read1(self, size: int = -1) -> bytes:
        data = super().read1(size)
        if self.tell() > self._most:
            raise ThumbtuneError(
                f"{self._file} unpacks to more than {MOST_UNPACKED} times its size, as no table does; "
                "unpack it, and import what is in it.",
                code="text-unpacks-too-large",
            )
        return data


def lines_of(text: TextIO) -> Iterator[str | None]:
    """Each line; None in place of one that is longer than `MAX_ROW`."""
    while line := text.readline(MAX_ROW):
        if len(line) < MAX_ROW or line.endswith(("\n", "\r")):
            yield line
            continue
        while (rest := text.readline(MAX_ROW)) and not rest.endswith(("\n", "\r")):
            pass
        yield None


def check_encoding(name: str) -> None:
    """Refuse what is no encoding of text.

    Raises:
        UsageError: it is none.
    """
    try:
        "x".encode(name)  # of nothing, Python would not look the encoding up
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"there is no encoding {name!r}; leave it out for UTF-8, or use one like cp1252.", code="encoding-unknown"
        ) from error
