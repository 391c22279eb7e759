"""Image files: are these bytes a whole image, of what kind, and how large?"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

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
}
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # MPO, phones' JPEG, is found by the JPEG reader
MAX_PIXELS = 64_000_000  # 8000 x 8000: far above what diffusion models make, far below what fills a memory
MAX_BYTES = 200_000_000  # an uncompressed image of MAX_PIXELS in three channels
# The kinds that are common and not read here: from which byte on, with what they begin, their name.
OTHER_KINDS = (
    (4, (b"ftypheic", b"ftypheix", b"ftypheim", b"ftypheis", b"ftyphevc", b"ftypmif1", b"ftypmsf1"), "HEIC"),
    (4, (b"ftypavif", b"ftypavis"), "AVIF"),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"),
    (0, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"), "JPEG 2000"),
)


class UnreadableImage(ThumbtuneError):
    """These bytes are not an image that can be used; the message says why, without a name in front."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What an image's bytes turned out to be; width and height as it is seen, upright."""

    width: int
    height: int
    suffix: str


def look_at(data: bytes) -> Look:
    """Decode an image from its first to its last pixel, as training will, so that nothing broken reaches it.

    Of a film (GIF, WebP, APNG) that is the first frame.

    Raises:
        UnreadableImage: not an image, cut off, damaged, of a kind or with numbers that are not read here, or
            larger than `MAX_PIXELS`.
    """
    try:
        return _decode(data)
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"it has more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsers stumble over
        kinds = "PNG, JPEG, WebP, GIF, BMP or TIFF"
        raise UnreadableImage(
            f"it is not a whole {kinds} image ({_brief(error)}); replace it with an intact copy"
        ) from error


@contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """An image's file without its decoder's notices: what is wrong is said in our own words, or is nothing to us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file, formats=FORMATS) as image:
            yield image


def _decode(data: bytes) -> Look:
    _refuse_other_kinds(data)
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
            raise UnreadableImage("its numbers do not say what black and white are; save it with 8 or 16 bits a colour")
        seen = rgb(image)
    return Look(width=seen.width, height=seen.height, suffix=SUFFIXES[kind])


def _refuse_other_kinds(data: bytes) -> None:
    """Tell people what to do about kinds that their phones and browsers write.

    Raises:
        UnreadableImage: the bytes are of such a kind, or there are none.
    """
    if not data:
        raise UnreadableImage("it is empty; replace it with an intact copy")
    for place, beginnings, kind in OTHER_KINDS:
        if data.startswith(beginnings, place):
            raise UnreadableImage(f"it is {kind}, which is not read here; convert it to PNG or JPEG")


def _brief(error: Exception) -> str:
    """The decoder's own words, less the memory address that Pillow puts into them."""
    text = str(error) or type(error).__name__
    return "unknown format" if "cannot identify image file" in text else text


def read_image(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadableImage: missing, not a plain file, too large, or the disk fails.
    """
    try:
        if path.exists() and not path.is_file():
            raise UnreadableImage(f"{str(path)!r} is a folder or a device, and no file; name an image")
        if not path.is_file():
            raise UnreadableImage(f"there is no such file as {str(path)!r}; put it there or remove the row")
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableImage(f"it is larger than {MAX_BYTES // 1_000_000} MB; make it smaller")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"it could not be read ({reason}); check the file") from error
