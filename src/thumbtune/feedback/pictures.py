"""Picture files: are these bytes a whole picture, of what kind, and how large?"""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from thumbtune.errors import ThumbtuneError

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
MAX_BYTES = 200_000_000  # an uncompressed picture of MAX_PIXELS in three channels


class UnreadablePicture(ThumbtuneError):
    """These bytes are not a picture that can be used; the message says why, without a name in front."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a picture's bytes turned out to be."""

    width: int
    height: int
    suffix: str


def look_at(data: bytes) -> Look:
    """Decode a picture from its first to its last pixel, so that nothing broken reaches training.

    Raises:
        UnreadablePicture: not a picture, cut off, damaged, or larger than `MAX_PIXELS`.
    """
    try:
        return _decode(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePicture(f"it has more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except UnreadablePicture:
        raise
    # Pillow's decoders raise whatever their parsers stumble over, so this list cannot be a short one.
    except (
        OSError,
        ValueError,
        SyntaxError,
        TypeError,
        EOFError,
        IndexError,
        KeyError,
        ArithmeticError,
    ) as error:
        kinds = "PNG, JPEG, WebP, GIF, BMP or TIFF"
        raise UnreadablePicture(
            f"it is not a whole {kinds} picture ({_brief(error)}); replace it with an intact copy"
        ) from error


def _decode(data: bytes) -> Look:
    if not data:
        raise UnreadablePicture("it is empty; replace it with an intact copy")
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height, kind = image.width, image.height, image.format or "PNG"
        if width * height > MAX_PIXELS:
            raise UnreadablePicture(
                f"it has {width * height:,} pixels and the limit is {MAX_PIXELS:,}; make it smaller"
            )
        if kind == "PNG":
            # Decoding alone does not compare a PNG's checksums; verify() does, and leaves the image unusable.
            image.verify()
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.load()
    return Look(width=width, height=height, suffix=SUFFIXES[kind])


def _brief(error: Exception) -> str:
    """The decoder's own words, less the memory address that Pillow puts into them."""
    text = str(error) or type(error).__name__
    return "unknown format" if "cannot identify image file" in text else text


def read_picture(path: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        UnreadablePicture: missing, not a plain file, too large, or the disk fails.
    """
    try:
        if not path.is_file():
            raise UnreadablePicture("there is no such file; put it there or remove the row")
        if path.stat().st_size > MAX_BYTES:
            raise UnreadablePicture(f"it is larger than {MAX_BYTES // 1_000_000} MB; make it smaller")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UnreadablePicture(f"it could not be read ({reason}); check the file") from error
