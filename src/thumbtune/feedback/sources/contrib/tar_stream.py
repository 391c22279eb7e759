"""Read a tar archive once from front to back, in constant memory.

`tarfile` parses the headers. We walk through them ourselves, because `tarfile` takes a damaged header for the end of
the archive, stores every member, and reads an extended header of any length into memory.
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
MAX_HEADER_BYTES = 1_000_000  # of an extended header, which holds one name
MAX_MEMBER_BYTES = 10_000_000_000  # to skip; a compressed archive must unpack them
CHUNK = 1 << 20
EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BrokenArchive(Exception):
    """The archive is cut off or damaged; the message says how, without the name of the file."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of an archive. A `plain` one is a file with its bytes, and no link or device."""

    name: str
    size: int
    plain: bool
    folder: bool


class TarStream:
    """The members of an archive, one by one. Unread bytes of a member are skipped before the next.

    jumps: whether skipping may seek, as in a file that is not compressed
    """

    def __init__(self, file: BinaryIO, jumps: bool = False) -> None:
        self._file = file
        self._jumps = jumps
        self._unread = 0  # bytes up to the next header
        self._size = 0  # bytes of the member; the rest pads its last block

    def __iter__(self) -> Iterator[Member]:
        """Yield all members.

        Raises:
            BrokenArchive: the archive is cut off or damaged.
        """
        extension: dict[str, str] = {}
        while (info := self._header()) is not None:
            self._begin(info, extension)
            if info.type in EXTENDED:
                extension |= self._extension(info)
                continue
            plain = info.isreg() and "sparse" not in extension
            yield Member(name=extension.get("path", info.name), size=self._size, plain=plain, folder=info.isdir())
            extension = {}
            self._skip()

    def read(self) -> bytes:
        """Return all bytes of the current member; check its size first.

        Raises:
            BrokenArchive: the member is cut off or damaged.
        """
        data = self._take(self._size)
        self._unread -= len(data)
        return data

    def _header(self) -> tarfile.TarInfo | None:
        """Return the next header, or None at the block of zeros that ends an archive."""
        block = self._take(BLOCK)
        if not any(block):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.HeaderError as error:
            raise BrokenArchive("its header is damaged") from error

    def _begin(self, info: tarfile.TarInfo, extension: dict[str, str]) -> None:
        """Set how many bytes follow a header; as in `tarfile`, unknown types are files and links are empty."""
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise BrokenArchive("it holds a sparse file")
        has_bytes = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES or info.type in EXTENDED
        size = extension.get("size", "") if info.type not in EXTENDED else ""
        self._size = (int(size) if size else info.size) if has_bytes else 0
        if not 0 <= self._size <= MAX_MEMBER_BYTES:
            raise BrokenArchive(f"it claims a file of {self._size:,} bytes")
        self._unread = -(-self._size // BLOCK) * BLOCK

    def _extension(self, info: tarfile.TarInfo) -> dict[str, str]:
        """Return what an extended header sets for the next member: `path`, `size`, `sparse`."""
        if self._size > MAX_HEADER_BYTES:
            raise BrokenArchive(f"it claims a name of {self._size:,} bytes")
        data = self.read()
        self._skip()
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

    def _skip(self) -> None:
        if self._jumps and self._unread > CHUNK:
            self._file.seek(self._unread, os.SEEK_CUR)  # beyond the end, the next header is cut off
            self._unread = 0
        while self._unread > 0:
            self._unread -= len(self._take(min(self._unread, CHUNK)))


def _records(data: bytes) -> dict[str, str]:
    """Return the records of a pax header that we use. Each is "length key=value" and a new line, in bytes."""
    records, start = {}, 0
    while start < len(data) and data[start]:
        number, _, _ = data[start : start + 10].partition(b" ")
        length = int(number) if number.isdigit() else 0
        key, separator, value = data[start + len(number) + 1 : start + length].partition(b"=")
        if length <= len(number) or not separator:
            raise BrokenArchive("its header is damaged")
        text = value.removesuffix(b"\n").decode("utf-8", "replace")
        if key.startswith(b"GNU.sparse."):
            records["sparse"] = text
        elif key == b"path" or (key == b"size" and value[:20].rstrip(b"\n").isdigit()):
            records[key.decode()] = text[:MAX_HEADER_BYTES]
        start += length
    return records


@contextmanager
def open_tar(path: Path) -> Iterator[TarStream]:
    """Open an archive, and unpack it if it is compressed with gzip.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        compressed = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        if not compressed:
            yield TarStream(file, jumps=file.seekable())
            return
        with gzip.open(file, "rb") as unpacked:
            yield TarStream(unpacked)  # type: ignore[arg-type]
