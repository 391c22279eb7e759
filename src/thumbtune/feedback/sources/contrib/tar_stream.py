"""A tar archive read once from front to back, in constant memory, and never beyond its end.

`tarfile` parses the headers. The way through them is our own, because that of `tarfile` takes a damaged header for
the end of the archive, remembers every member, and reads an extended header of any length into memory.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK = 512
GZIP_MAGIC = b"\x1f\x8b"
MAX_HEADER_BYTES = 1_000_000  # bytes of an extended header: it holds one name
MAX_MEMBER_BYTES = 10_000_000_000  # bytes that are passed over; a compressed archive must unpack them for that
CHUNK = 1 << 20
EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BrokenArchive(Exception):
    """The archive ends too early or makes no sense from here on; the message says how, without a name in front."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of an archive. A `plain` one is a file with its bytes; links, devices and such are not."""

    name: str
    size: int
    plain: bool
    folder: bool


class TarStream:
    """The members of an archive, one after another. What was not read of one is passed over before the next.

    `jumps` says that passing over may be seeking, as in a file that is not compressed.
    """

    def __init__(self, file: BinaryIO, jumps: bool = False) -> None:
        self._file = file
        self._jumps = jumps
        self._unread = 0  # bytes between here and the next header
        self._size = 0  # how many of them are the member's own; the rest fills up its last block

    def __iter__(self) -> Iterator[Member]:
        """Go through all members.

        Raises:
            BrokenArchive: the archive is cut off or damaged.
        """
        more: dict[str, str] = {}
        while (info := self._header()) is not None:
            self._begin(info, more)
            if info.type in EXTENDED:
                more |= self._extended(info)
                continue
            plain = info.isreg() and "sparse" not in more
            yield Member(name=more.get("path", info.name), size=self._size, plain=plain, folder=info.isdir())
            more = {}
            self._pass_over()

    def read(self) -> bytes:
        """All bytes of the member at hand; look at its size before.

        Raises:
            BrokenArchive: it is cut off or damaged.
        """
        data = self._take(self._size)
        self._unread -= len(data)
        return data

    def _header(self) -> tarfile.TarInfo | None:
        """The next header, or None at the block of zeros that ends an archive."""
        block = self._take(BLOCK)
        if not any(block):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.HeaderError as error:
            raise BrokenArchive("it makes no sense") from error

    def _begin(self, info: tarfile.TarInfo, more: dict[str, str]) -> None:
        """Note how many bytes follow a header; like `tarfile`, read the unknown as files and links as empty."""
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise BrokenArchive("it holds a sparse file")
        has_bytes = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES or info.type in EXTENDED
        said = more.get("size", "") if info.type not in EXTENDED else ""
        self._size = (int(said) if said else info.size) if has_bytes else 0
        if not 0 <= self._size <= MAX_MEMBER_BYTES:
            raise BrokenArchive(f"it claims a file of {self._size:,} bytes")
        self._unread = -(-self._size // BLOCK) * BLOCK

    def _extended(self, info: tarfile.TarInfo) -> dict[str, str]:
        """What a header says about the member after it: of its `path`, its `size`, and whether it is `sparse`."""
        if self._size > MAX_HEADER_BYTES:
            raise BrokenArchive(f"it claims a name of {self._size:,} bytes")
        data = self.read()
        self._pass_over()
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return {"path": data.partition(b"\0")[0].decode("utf-8", "replace")}
        return _records(data) if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE) else {}

    def _take(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BrokenArchive("it is cut off" if isinstance(error, EOFError) else "it cannot be unpacked") from error
        if len(data) < size:
            raise BrokenArchive("it is cut off")
        return data

    def _pass_over(self) -> None:
        if self._jumps and self._unread > CHUNK:
            self._file.seek(self._unread, os.SEEK_CUR)  # beyond the end, the next header is missing
            self._unread = 0
        while self._unread > 0:
            self._unread -= len(self._take(min(self._unread, CHUNK)))


def _records(data: bytes) -> dict[str, str]:
    """The records of a pax header that matter here. Each is "length key=value" and a new line, counted in bytes."""
    said, start = {}, 0
    while start < len(data) and data[start]:
        number, _, _ = data[start : start + 10].partition(b" ")
        length = int(number) if number.isdigit() else 0
        key, separator, value = data[start + len(number) + 1 : start + length].partition(b"=")
        if length <= len(number) or not separator:
            raise BrokenArchive("it makes no sense")
        text = value.removesuffix(b"\n").decode("utf-8", "replace")
        if key.startswith(b"GNU.sparse."):
            said["sparse"] = text
        elif key == b"path" or (key == b"size" and value[:20].rstrip(b"\n").isdigit()):
            said[key.decode()] = text[:MAX_HEADER_BYTES]
        start += length
    return said


@contextmanager
def open_tar(path: Path) -> Iterator[TarStream]:
    """Open an archive, unpacking it on the way if it is compressed with gzip.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        compressed = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        if not compressed:
            yield TarStream(file, jumps=file.seekable())
            return
        with gzip.open(file, "rb") as unpacked:
            yield TarStream(unpacked)  # type: ignore[arg-type]
