"""Ways of breaking a file: bytes turned, lost, added, doubled and exchanged; cells exchanged; and bombs.

What is packed (gzip, zip, tar, Parquet) is broken half of the time as it is, and half of the time inside, so that what
unpacks it does not refuse everything at once.
"""

import base64
import gzip
import io
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Mutation = Callable[[Random, bytes], bytes]

PNG, END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
IMAGE = re.compile(re.escape(PNG) + rb".*?" + re.escape(END), re.DOTALL)
TEXT_IMAGE = re.compile(rb"iVBORw0KGgo[A-Za-z0-9+/=]*")
WORD = re.compile(rb'[^\s,;:"{}\[\]]+')
DEEP = 20_000
PIECES = (
    *(
        b"\0",
        b"\xff",
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"\xed\xa0\x80",
    ),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"sep=|\n", b"null", b"NaN", b"Infinity"),
    *(b"-1", b"4", b"1e999", b"9" * 5000, b"0x1", b"true", b"like", b"\\ud800", b"\\u0000", b"\xf0\x9f\x91\x8d"),
    *(b"../secret.png", b"/etc/passwd", b"C:\\a.png", b"file:///etc/passwd", b"http://127.0.0.1:1/a.png", b"data:,"),
    *(b"data:;base64,A", b"[" * DEEP, b'{"a":' * DEEP, b"x" * 200_000, b'"' + b"a\n" * 50, b"<!-- -->", b"%00"),
)


def broken(random: Random, data: bytes) -> bytes:
    """The data with something wrong in one to three places."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = _inside(random, data) if random.random() < 0.5 else random.choice(MUTATIONS)(random, data)
    return data


# --- of bytes


def flipped(random: Random, data: bytes) -> bytes:
    """A few bits turned."""
    found = bytearray(data)
    for _ in range(random.randint(1, 8) if found else 0):
        found[random.randrange(len(found))] ^= 1 << random.randrange(8)
    return bytes(found)


def cut_off(random: Random, data: bytes) -> bytes:
    """The end is missing, or the beginning."""
    at = random.randint(0, len(data))
    return data[:at] if random.random() < 0.8 else data[at:]


def inserted(random: Random, data: bytes) -> bytes:
    """Something that means something, or anything, put between or over."""
    piece = random.choice(PIECES) if random.random() < 0.7 else random.randbytes(random.randint(1, 30))
    at = random.randint(0, len(data))
    return data[:at] + piece + data[at + random.choice((0, 0, 1, len(piece))) :]


def doubled(random: Random, data: bytes) -> bytes:
    """A slice comes twice, or many times."""
    start, end = _slice(random, data)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 20)) + data[end:]


def lost(random: Random, data: bytes) -> bytes:
    """A slice is missing."""
    start, end = _slice(random, data)
    return data[:start] + data[end:]


def exchanged(random: Random, data: bytes) -> bytes:
    """Two slices have changed places."""
    a, b, c, d = sorted(random.randint(0, len(data)) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _slice(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 4, 16, 64, 1000)))


# --- of cells


def swapped(random: Random, data: bytes) -> bytes:
    """Two words, names or numbers have changed places."""
    words = list(WORD.finditer(data[:100_000]))
    if len(words) < 2:
        return data
    a, b = sorted(random.sample(range(len(words)), 2))
    (start, end), (begin, finish) = words[a].span(), words[b].span()
    return data[:start] + words[b][0] + data[end:begin] + words[a][0] + data[finish:]


def replaced(random: Random, data: bytes) -> bytes:
    """A word is something else."""
    words = list(WORD.finditer(data[:100_000]))
    if not words:
        return data
    start, end = random.choice(words).span()
    return data[:start] + random.choice(PIECES) + data[end:]


# --- bombs


def bombed(random: Random, data: bytes) -> bytes:
    """An image in it that is none, or far too large; or depths of JSON in place of all."""
    for pattern, form in ((IMAGE, bytes), (TEXT_IMAGE, base64.b64encode)):
        images = list(pattern.finditer(data))
        if images:
            start, end = random.choice(images).span()
            return data[:start] + form(random.choice(BOMBS)) + data[end:]
    if data.startswith(b"PK\x03\x04"):
        return unfolding_zip()
    return random.choice(
        (b"[" * DEEP, b'[{"a":' * DEEP, b'{"a":' * DEEP, bytes(100_000), b"", gzip.compress(bytes(10**6)))
    )


@cache
def unfolding_zip() -> bytes:
    """A small archive of an image and a text that are anything but small."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("a.png", "a.json"):
            packed.writestr(zipfile.ZipInfo(name), bytes(30_000_000))
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A part of a PNG, with the checksum that it asks for."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *parts: bytes, depth: int = 8, colours: int = 2) -> bytes:
    """An image of that size, as it says, with few pixels in it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    return PNG + head + b"".join(parts) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


BOMBS = (
    png(60_000, 60_000),
    png(2**31 - 1, 1),
    png(1, 2**31 - 1),
    png(0, 0),
    png(8, 8, chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(20_000_000), 9))),
    png(8, 8, chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(5_000_000), 9))),
    png(8, 8, chunk(b"tEXt", b"prompt\0" + b'{"a":' * DEEP)),
    png(8, 8, *[chunk(b"tEXt", b"prompt\0x")] * 2000),
    png(8, 8, chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x0f\0\x02\xff\xff\xff\xff\0\0\0\0" * 100)),
    png(8, 8, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    png(8, 8, depth=16, colours=99),
    b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\xf0\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 60_000, -60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    b"II*\0\x08\0\0\0\xff\xff" + b"\0\x01\x04\0\x01\0\0\0\xff\xff\xff\xff" * 50,
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01" + b"\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01",
    b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff",
    PNG,
)


MUTATIONS: Sequence[Mutation] = (
    *(flipped, cut_off, inserted, doubled, lost, exchanged),
    *(swapped, swapped, replaced, replaced, bombed),
)


# --- inside of what is packed


NAMES = (
    "../a.png",
    "/etc/passwd",
    "a/../../b.json",
    "C:\\a.png",
    "",
    "\udcff.json",
    "x" * 300,
    "a\nb.txt",
    "img/a.png",
)
BROKEN_BEFORE = (
    *(OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError),
    *(ValueError, LookupError, NotImplementedError, RuntimeError, pa.ArrowException),
)


def _inside(random: Random, data: bytes) -> bytes:
    mutation = random.choice(MUTATIONS)
    try:
        if data.startswith(b"\x1f\x8b"):
            return gzip.compress(mutation(random, gzip.decompress(data)), 1, mtime=0)
        if data.startswith(b"PK\x03\x04"):
            return _inside_zip(random, data, mutation)
        if data[257:262] == b"ustar":
            return _inside_tar(random, data, mutation)
        if data.startswith(b"PAR1"):
            return _inside_parquet(random, data)
    except BROKEN_BEFORE:
        pass
    return mutation(random, data)


def _inside_zip(random: Random, data: bytes, mutation: Mutation) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        members = [(member.filename, packed.read(member)) for member in packed.infolist()]
    at = random.randrange(len(members)) if members else 0
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as again:
        for number, (name, content) in enumerate(members):
            named = random.choice(NAMES) if number == at and random.random() < 0.2 else name
            again.writestr(zipfile.ZipInfo(named), mutation(random, content) if number == at else content)
    return out.getvalue()


def _inside_tar(random: Random, data: bytes, mutation: Mutation) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        files = [(member, packed.extractfile(member)) for member in packed]
        members = [(member, file.read() if file else b"") for member, file in files]
    at = random.randrange(len(members)) if members else 0
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as again:
        for number, (member, content) in enumerate(members):
            held = mutation(random, content) if number == at else content
            member.size = len(held)
            if number == at and random.random() < 0.2:
                member.name = random.choice(NAMES)
            if number == at and random.random() < 0.1:
                member.type, member.linkname = random.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), random.choice(NAMES)
            again.addfile(member, io.BytesIO(held))
    return out.getvalue()


def _inside_parquet(random: Random, data: bytes) -> bytes:
    """Another table: a column's cells shuffled, of another type, gone, or under another name."""
    table = pq.read_table(io.BytesIO(data))
    if not table.num_columns or not table.num_rows:
        return data
    at = random.randrange(table.num_columns)
    name = table.column_names[at]
    kind = random.randrange(6)
    if kind == 0:
        other = random.choice(table.column_names)
        table = table.rename_columns(
            [other if number == at else each for number, each in enumerate(table.column_names)]
        )
    elif kind == 1:
        table = table.remove_column(at)
    elif kind == 2:
        order = random.sample(range(table.num_rows), table.num_rows)
        table = table.set_column(at, name, table.column(at).take(pa.array(order)))
    elif kind == 3:
        table = table.set_column(at, name, table.column(random.randrange(table.num_columns)))
    else:
        cells = [random.choice(CELLS)] * table.num_rows
        table = table.set_column(at, name, pa.array(*cells[0]).take(pa.array([0] * table.num_rows)))
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


CELLS: tuple[tuple[Any, ...], ...] = (
    ([None], pa.null()),
    ([True],),
    ([4],),
    ([2**63], pa.uint64()),
    ([float("nan")],),
    ([b"\xff\0"],),
    (["../secret.png"],),
    (["[" * DEEP],),
    (["x" * 100_000],),
    ([[1, None]],),
    ([["img/a.png", "img/b.png"]],),
    ([{"bytes": b"", "path": None}],),
    ([{"bytes": BOMBS[0], "path": "a.png"}],),
    ([{"path": 7}],),
    ([10**15], pa.timestamp("s")),
    ([10**15], pa.duration("s")),
    ([0], pa.timestamp("ns", "Moon/Crater")),
    ([2**31 - 1], pa.date32()),
    ([0.5], pa.float16()),
    ([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
)
