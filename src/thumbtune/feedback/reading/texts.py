"""Open a text, plain or compressed with gzip, in UTF-8, or in UTF-16 or 32 if it begins with a byte order mark.

Other encodings are refused, not guessed: old spreadsheet programs write one of a dozen code pages, most of which decode
any bytes, and a model would learn the wrongly decoded prompts.
"""

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from thumbtune.errors import ThumbtuneError, UsageError

MAX_ROW = 64_000_000  # characters: an image of 48 MB as base64; no row is longer
GZIP = ".gz"
MAX_BLANK_LINES = 1_100_000  # beyond ten for each row; the largest sheet of a spreadsheet program has 1,048,576 lines
BLANK_LINES_A_ROW = 10
READ_AHEAD = 1 << 17  # bytes: the largest buffer of packed bytes in any Python
MAX_UNPACK_RATIO = 200  # written text shrinks to a tenth; one repeated byte, as in a bomb, to a thousandth
ALLOWED_UNPACKED_BYTES = 8_000_000  # bytes, for any file: a short list of equal rows shrinks a lot

# UTF-32 comes first, as its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BEGINNING = 64  # bytes


@contextmanager
def open_text(file: Path, encoding: str | None = None) -> Iterator[TextIO]:
    """Open a text; lines keep their ends. `encoding` is for text without a byte order mark that is not UTF-8.

    Raises:
        ThumbtuneError: it begins with zero bytes, as UTF-16 without a mark does; or, while it is read, it unpacks to
            more than `MAX_UNPACK_RATIO` times its size.
        OSError: it cannot be read.
    """
    raw = _Unpacked(file) if file.name.lower().endswith(GZIP) else file.open("rb")
    with raw:
        beginning = raw.peek(_BEGINNING)[:_BEGINNING]
        marked = next((name for mark, name in _BYTE_ORDER_MARKS if beginning.startswith(mark)), None)
        if not (marked or encoding) and b"\0" in beginning:
            raise ThumbtuneError(
                f"{file} begins with zero bytes, so it is not UTF-8 text; save it again as UTF-8.",
                code="text-zero-bytes",
            )
        with io.TextIOWrapper(raw, encoding=marked or encoding or "utf-8", newline="") as text:
            yield text


class _Unpacked(gzip.GzipFile):
    """A compressed file that refuses to unpack to far more than its size, in any part of it."""

    def __init__(self, file: Path) -> None:
        self._packed = file.open("rb")
        super().__init__(fileobj=self._packed, mode="rb")
        self._file = file
        self._before = (0, 0)  # packed and unpacked bytes before this part

    def read1(self, size: int = -1) -> bytes:
        data = super().read1(size)
        packed, unpacked = self._packed.tell() - self._before[0], self.tell() - self._before[1]
        if unpacked <= ALLOWED_UNPACKED_BYTES:
            return data
        # of a later part, some packed bytes were read with the part before it
        if unpacked > MAX_UNPACK_RATIO * (packed + READ_AHEAD * bool(self._before[0])):
            raise ThumbtuneError(
                f"{self._file} unpacks to more than {MAX_UNPACK_RATIO} times its size, too much for a table; "
                "unpack it, and import the unpacked file.",
                code="text-unpacks-too-large",
            )
        if packed >= READ_AHEAD:
            self._before = (self._packed.tell(), self.tell())
        return data

    def close(self) -> None:
        super().close()
        self._packed.close()


def check_blank_lines(file: Path, blank: int, rows: int) -> None:
    """Refuse a table of blank lines, of which a small file may have billions.

    Raises:
        ThumbtuneError: there are too many of them beside so many rows.
    """
    if blank > MAX_BLANK_LINES + BLANK_LINES_A_ROW * rows:
        raise ThumbtuneError(
            f"{file} has more than {MAX_BLANK_LINES:,} blank lines; remove them, then import it again.",
            code="table-blank-lines",
        )


def lines_of(text: TextIO) -> Iterator[str | None]:
    """Yield each line; None for one longer than `MAX_ROW`."""
    while line := text.readline(MAX_ROW):
        if len(line) < MAX_ROW or line.endswith(("\n", "\r")):
            yield line
            continue
        while (rest := text.readline(MAX_ROW)) and not rest.endswith(("\n", "\r")):
            pass
        yield None


def check_encoding(name: str) -> None:
    """Refuse a name that is no encoding of text.

    Raises:
        UsageError: it is not one.
    """
    try:
        "x".encode(name)  # for an empty text, Python does not look the encoding up
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"{name!r} is not an encoding; leave out --encoding for UTF-8, or give another one, such as cp1252.",
            code="encoding-unknown",
        ) from error
