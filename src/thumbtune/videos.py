"""Read video files with PyAV, an optional library (`thumbtune[video]`) that is loaded when such a file is met."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from thumbtune.errors import ThumbtuneError, reason

SUFFIXES = (".mp4", ".mov", ".webm", ".mkv")
# further endings of videos; the first bytes of a file tell whether it is read, as .m4v and most .3gp are
OTHER_SUFFIXES = (".m4v", ".3gp", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
HEAD = 64  # bytes that tell what a file is
BOXES = (b"moov", b"mdat", b"wide")  # the first one of an old QuickTime file
STILL = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"crx ", b"jxl ")
MATROSKA = b"\x1a\x45\xdf\xa3"
SEGMENT = b"\x18\x53\x80\x67"  # what a Matroska file has after its head
QUARTER = 90  # degrees

File = Path | BinaryIO


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What the head of a video tells: its size as it is shown, and its length if it is told, else 0.

    width, height: pixels
    seconds:       of the whole video
    rate:          frames a second, on average
    """

    width: int
    height: int
    seconds: float
    rate: float


def suffix_of(head: bytes) -> str | None:
    """Return the suffix of a video by its first bytes; None for any other file.

    >>> suffix_of(bytes(4) + b"ftypisom"), suffix_of(bytes(4) + b"ftypqt  "), suffix_of(bytes(4) + b"ftypavif")
    ('.mp4', '.mov', None)
    """
    if head.startswith(MATROSKA):
        return ".webm" if b"webm" in head[:HEAD] else ".mkv"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return None if brand in STILL else ".mov" if brand == b"qt  " else ".mp4"
    return ".mov" if head[4:8] in BOXES else None


def is_video(file: File) -> bool:
    """Return whether a file is a video, by its first bytes, and be at its beginning.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return suffix_of(opened.read(HEAD)) is not None
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)  # where every reader begins
    return suffix_of(head) is not None


def load() -> Any:
    """Return the module av.

    Raises:
        ThumbtuneError: it is not installed, or does not work here.
    """
    try:
        return import_module("av")
    except (ImportError, OSError) as error:
        raise ThumbtuneError(
            f"Reading a video needs PyAV, which does not load here ({reason(error)}); install it with `pip install "
            "'thumbtune[video]'`, or convert the video to an animated WebP.",
            code="video-library-missing",
        ) from error


@contextmanager
def _opened(file: File) -> Iterator[tuple[Any, Any]]:
    """Open a video, and give its container and its first stream of images.

    Raises:
        OSError: it is no whole video.
    """
    av = load()
    try:
        with av.open(str(file) if isinstance(file, Path) else file) as container:
            if not container.streams.video:
                raise OSError("it has no images")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise OSError(f"FFmpeg cannot read this video: {error.strerror or reason(error)}") from error


def info_of(file: File) -> VideoInfo:
    """Return the size and the length of a video; its first frame is decoded, which tells how it is turned.

    Raises:
        OSError: it is no video, or has no frame.
        ThumbtuneError: PyAV is missing.
    """
    with _opened(file) as (container, stream):
        seconds, rate = _seconds(container, stream), float(stream.average_rate or 0)
        width, height = stream.codec_context.width, stream.codec_context.height
        for frame in container.decode(stream):
            if frame.rotation % (2 * QUARTER):
                width, height = height, width
            return VideoInfo(width=width, height=height, seconds=seconds, rate=rate)
    raise OSError("it has no frames")


def head_of(file: File) -> VideoInfo:
    """Return what the head of a video tells, before any frame is decoded; its size as it is stored.

    Raises:
        OSError, ThumbtuneError: as `info_of`.
    """
    with _opened(file) as (container, stream):
        context = stream.codec_context
        seconds, rate = _seconds(container, stream), float(stream.average_rate or 0)
        return VideoInfo(width=context.width, height=context.height, seconds=seconds, rate=rate)


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / load().time_base


def frames_in(file: File) -> Iterator[tuple[Callable[[], Image.Image], float]]:
    """Yield the frames of a video, as what makes an upright RGB image, each with the second at which it ends.

    Raises:
        OSError, ThumbtuneError: as `info_of`.
    """
    with _opened(file) as (container, stream):
        first, before, usual = None, None, 1 / float(stream.average_rate or 25)
        start = 0.0
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise OSError("a frame is damaged")
            time = frame.time
            first = time if first is None else first
            begin = start + usual if time is None or first is None else time - first
            if before is not None:
                yield before, begin
            before, start = partial(_upright, frame), begin if before is not None else 0.0
            usual = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
        if before is None:
            raise OSError("it has no frames")
        yield before, start + usual


def _upright(frame: Any) -> Image.Image:
    """Return a frame as its display matrix shows it: x' = a x + c y, y' = b x + d y; phones turn and mirror so."""
    image = frame.to_image()
    matrices = [bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    if not matrices:
        return image
    a, b, _, c, d = struct.unpack_from("=5i", matrices[0])
    if (a or d) and (b or c):  # turned by another angle than quarters
        return image.rotate(frame.rotation, expand=True)
    if b or c:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if a + c < 0 else image
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if b + d < 0 else image


def is_cut(data: bytes) -> bool:
    """Return whether a .webm or .mkv ends before its own head says, which FFmpeg reads as a shorter video.

    >>> is_cut(MATROSKA + bytes([0x81, 0]) + SEGMENT + bytes([0x83, 0, 0, 0])), is_cut(MATROSKA + bytes([0x81, 0]))
    (False, False)
    >>> is_cut(MATROSKA + bytes([0x81, 0]) + SEGMENT + bytes([0x83, 0, 0]))
    True
    """
    if not data.startswith(MATROSKA):
        return False
    start, size = _number(data, len(MATROSKA))
    segment = start + (size or 0)
    if data[segment : segment + len(SEGMENT)] != SEGMENT:
        return False
    start, size = _number(data, segment + len(SEGMENT))
    return size is not None and start + size > len(data)


def _number(data: bytes, place: int) -> tuple[int, int | None]:
    """Return where a size of EBML ends, and the size; None if it is unknown, as while a video is streamed."""
    length = 9 - data[place].bit_length() if place < len(data) else 1
    field = int.from_bytes(data[place : place + length], "big") & (2 ** (7 * length) - 1)
    return place + length, None if field == 2 ** (7 * length) - 1 else field
