"""Check image files: whether bytes are a whole image, in which format, and how large."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, features

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
# Common formats that are not supported: offset, the bytes there, name.
UNSUPPORTED_FORMATS = (
    (4, (b"ftypheic", b"ftypheix", b"ftypheim", b"ftypheis", b"ftyphevc", b"ftypmif1", b"ftypmsf1"), "HEIC"),
    *(() if READS_AVIF else ((4, (b"ftypavif", b"ftypavis"), "AVIF"),)),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"),
    (0, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"), "JPEG 2000"),
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


def inspect_image(data: bytes) -> ImageInfo:
    """Decode a whole image, as training will, so that no broken image reaches it; return its size and suffix.

    Of an animation (GIF, WebP, APNG) only the first frame is decoded.

    Raises:
        UnreadableImage: not an image, cut off, damaged, of an unsupported format or number type, or larger than
            `MAX_PIXELS`.
    """
    try:
        return _decode(data)
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
        seen = rgb(image)
    return ImageInfo(width=seen.width, height=seen.height, suffix=SUFFIXES[kind])


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
