"""Check image files, and clips: whether bytes are a whole image or video, in which format, and how large."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, features

from thumbtune import videos
from thumbtune.clips import check_frames, places_in
from thumbtune.errors import ThumbtuneError
from thumbtune.images import rgb

SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
}
READS_AVIF = "avif" in features.modules and bool(features.check("avif"))  # Pillow 11.3 and newer, in most builds
FORMATS = (  # MPO, phones' JPEG, is found by the JPEG reader
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"),
    *(("AVIF",) if READS_AVIF else ()),
)
MAX_PIXELS = 64_000_000  # 8000 x 8000: far larger than diffusion models generate, far smaller than a memory
MAX_BYTES = 200_000_000  # an uncompressed image of MAX_PIXELS in three channels
MAX_CLIP_PIXELS = 4_000_000_000  # of all frames of a clip: a minute at 1280 x 720 has 2.2 billion
MAX_SECONDS = 120  # of a video: models generate 5 to 20
MAX_RATE = 240  # frames a second
# Common formats that are not supported: offset, the bytes there, name.
UNSUPPORTED_FORMATS = (
    (4, (b"ftypheic", b"ftypheix", b"ftypheim", b"ftypheis", b"ftyphevc", b"ftypmif1", b"ftypmsf1"), "HEIC"),
    *(() if READS_AVIF else ((4, (b"ftypavif", b"ftypavis"), "AVIF"),)),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"),
    (0, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"), "JPEG 2000"),
)
UNSUPPORTED_VIDEOS = (
    (8, b"AVI ", "AVI"),
    (0, b"\0\0\x01\xba", "MPEG"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMV"),
    (0, b"FLV\x01", "FLV"),
    (0, b"OggS", "Ogg"),
)


class UnreadableImage(ThumbtuneError):
    """These bytes are not a usable image; the message gives the reason without naming the file."""

    code = "image-unreadable"


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """The size of an image as it is shown, upright, and the suffix of its file."""

    width: int
    height: int
    suffix: str


def check_beginning(data: bytes) -> None:
    """Refuse bytes that do not begin as an image or a video; the rest is not decoded.

    Raises:
        UnreadableImage: they are no image and no video, or of an unsupported format.
    """
    with in_sentences():
        if videos.suffix_of(data[: videos.HEAD]) is None:
            _refuse_unsupported(data)
            with opened(io.BytesIO(data)):
                pass


def inspect_image(data: bytes) -> ImageInfo:
    """Decode a whole image, as training will, so that no broken image reaches it; return its size and suffix.

    Of an animation (GIF, WebP, APNG) all frames are decoded, up to `MAX_CLIP_PIXELS`, and of a video all frames.

    Raises:
        UnreadableImage: not an image or a video, cut off, damaged, of an unsupported format or number type, larger than
            `MAX_PIXELS`, or too long; or a video, and PyAV is missing.
    """
    with in_sentences():
        suffix = videos.suffix_of(data[: videos.HEAD])
        return _decode(data) if suffix is None else _decode_video(data, suffix)


@contextmanager
def in_sentences() -> Iterator[None]:
    """Turn what a decoder raises into a sentence.

    Raises:
        UnreadableImage: it raised something.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"it has more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many types
        kinds = f"PNG, JPEG, WebP, {'AVIF, ' if READS_AVIF else ''}GIF, BMP or TIFF"
        raise UnreadableImage(
            f"it is not a whole {kinds} image ({_brief(error)}); replace it with an intact copy"
        ) from error


@contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """Open an image file without its decoder's warnings, since `inspect_image` raises its own errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file, formats=FORMATS) as image:
            yield image


def _decode(data: bytes) -> ImageInfo:
    _refuse_unsupported(data)
    with opened(io.BytesIO(data)) as image:
        pixels, kind = image.width * image.height, image.format or "PNG"
        if not pixels:
            raise UnreadableImage("it has no pixels; replace it with an intact copy")
        if pixels > MAX_PIXELS:
            raise UnreadableImage(f"it has {pixels:,} pixels and the limit is {MAX_PIXELS:,}; make it smaller")
        if kind == "PNG":
            # Decoding alone does not compare a PNG's checksums; verify() does, and leaves the image unusable.
            image.verify()
    with opened(io.BytesIO(data)) as image:
        image.load()
        if image.mode == "F" or (image.mode == "I" and kind != "PNG"):  # older Pillows give a PNG's 16 bits as I
            raise UnreadableImage("its pixel values have no defined range; save it with 8 or 16 bits per colour")
        seen, is_clip = rgb(image), len(places_in(image)) > 1
    if is_clip:
        check_frames(io.BytesIO(data), MAX_CLIP_PIXELS)
    return ImageInfo(width=seen.width, height=seen.height, suffix=SUFFIXES[kind])


def _decode_video(data: bytes, suffix: str) -> ImageInfo:
    """Decode a whole video, after its head was found to keep the limits.

    Raises:
        UnreadableImage: it does not keep them, is damaged, or PyAV is missing.
    """
    try:
        pixels = _pixels_of_frame(data)
        for place, (_, end) in enumerate(videos.frames_in(io.BytesIO(data)), 1):
            if end > MAX_SECONDS or place * pixels > MAX_CLIP_PIXELS:  # not every head tells the length
                raise _too_many(place, MAX_CLIP_PIXELS // pixels)
        info = videos.info_of(io.BytesIO(data))
    except OSError as error:
        raise UnreadableImage(f"it is not a whole video ({_brief(error)}); replace it with an intact copy") from error
    except UnreadableImage:
        raise
    except ThumbtuneError as error:
        raise UnreadableImage(
            "it is a video, which PyAV reads; install it with `pip install 'thumbtune[video]'`, or convert the video "
            "to an animated WebP"
        ) from error
    return ImageInfo(width=info.width, height=info.height, suffix=suffix)


def _pixels_of_frame(data: bytes) -> int:
    """Return the pixels of a frame of a video, by its head.

    Raises:
        UnreadableImage: the head tells that its end is missing, or more than the limits.
        OSError: it is no video.
    """
    if videos.is_cut(data):
        raise UnreadableImage("it is not a whole video (its end is missing); replace it with an intact copy")
    head = videos.head_of(io.BytesIO(data))
    pixels = head.width * head.height
    if not pixels:
        raise UnreadableImage("it has no pixels; replace it with an intact copy")
    if pixels > MAX_PIXELS:
        raise UnreadableImage(f"it has {pixels:,} pixels and the limit is {MAX_PIXELS:,}; make it smaller")
    if head.seconds > MAX_SECONDS:
        raise UnreadableImage(f"it is a video of {head.seconds:,.0f} seconds and the limit is {MAX_SECONDS}; cut it")
    frames = head.seconds * head.rate
    if head.rate > MAX_RATE or frames * pixels > MAX_CLIP_PIXELS:
        raise _too_many(frames, MAX_CLIP_PIXELS // pixels)
    return pixels


def _too_many(frames: float, most: int) -> UnreadableImage:
    return UnreadableImage(f"it is a video of {frames:,.0f} frames or more and the limit is {most:,}; cut it")


def _refuse_unsupported(data: bytes) -> None:
    """Refuse formats that phones and browsers write, with advice.

    Raises:
        UnreadableImage: the bytes are of an unsupported format, or there are none.
    """
    if not data:
        raise UnreadableImage("it is empty; replace it with an intact copy")
    for offset, beginnings, kind in UNSUPPORTED_FORMATS:
        if data.startswith(beginnings, offset):
            raise UnreadableImage(f"it is {kind}, which is not supported; convert it to PNG or JPEG")
    for offset, beginning, kind in UNSUPPORTED_VIDEOS:
        if data.startswith(beginning, offset):
            raise UnreadableImage(f"it is a video in {kind}, which is not supported; convert it to .mp4 or .webm")


def _brief(error: Exception) -> str:
    """Return the decoder's message without the memory address that Pillow puts into it."""
    text = str(error) or type(error).__name__
    return "unknown format" if "cannot identify image file" in text else text


def read_image(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        UnreadableImage: the file is missing, not a plain file, too large, or the disk fails.
    """
    try:
        if path.exists() and not path.is_file():
            raise UnreadableImage(f"{str(path)!r} is a folder or a device, not a file; name an image")
        if not path.is_file():
            raise UnreadableImage(f"the file {str(path)!r} does not exist; add it or remove the row")
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableImage(f"it is larger than {MAX_BYTES // 1_000_000} MB; make it smaller")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"it could not be read ({reason}); check the file") from error
