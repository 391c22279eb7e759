"""An image of any mode as the RGB that a person would see on a white page."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from thumbtune import videos

WHITE_OF_16_BITS = 2**16 - 1
STEPS_OF_16_BITS = 257  # (2^16 - 1) / (2^8 - 1)
QUARTER_TURNS = (5, 6, 7, 8)  # of EXIF's orientations
PNG_MARK = b"\x89PNG\r\n\x1a\n"
ROWS_AT_ONCE = 64  # an image of 64 million pixels would be half a gigabyte of wide integers


def rgb(image: Image.Image) -> Image.Image:
    """Return RGB: upright by EXIF, transparency on white, 16 bits scaled to 8, the first frame of an animation.

    Pillow would clip the 16 bits of a grey image, which turns almost all white. Of 16-bit colour it keeps the upper
    half, which is less than one step of 8 bits away. CMYK is turned to RGB without a colour profile.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey_of_16_bits(image).convert("RGB")
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return image.convert("RGB")


def _grey_of_16_bits(image: Image.Image) -> Image.Image:
    """Return a grey image in 8 bits. A PNG may have one transparent grey, which becomes white."""
    grey = np.asarray(image)
    narrow = np.empty(grey.shape, np.uint8)
    transparent = image.info.get("transparency")
    for start in range(0, len(grey), ROWS_AT_ONCE):
        part = grey[start : start + ROWS_AT_ONCE].astype(np.int64)
        if isinstance(transparent, int):
            part[part == transparent] = WHITE_OF_16_BITS
        narrow[start : start + ROWS_AT_ONCE] = (part.clip(0, WHITE_OF_16_BITS) / STEPS_OF_16_BITS).round()
    return Image.fromarray(narrow)


def upright_size(file: Path | BinaryIO) -> tuple[int, int]:
    """Return height and width of an image as `rgb` shows it, from the head of its file where that tells them.

    Raises:
        OSError: it is missing, or no image and no video.
        ThumbtuneError: it is a video, and PyAV is missing.
    """
    if videos.is_video(file):
        info = videos.info_of(file)
        return info.height, info.width
    with Image.open(file) as image:
        if image.format == "TIFF" or (image.format == "PNG" and _has_a_tail(image)):
            upright = ImageOps.exif_transpose(image)
            return upright.height, upright.width
        turned = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in QUARTER_TURNS  # a PNG's own would decode
        return (image.width, image.height) if turned else (image.height, image.width)


def _has_a_tail(image: Any) -> bool:
    """Return whether a PNG has anything behind its pixels, as its orientation."""
    file = image.fp
    place = file.tell()
    file.seek(len(PNG_MARK))
    kind, behind = b"", False
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:  # noqa: PLR2004 - cut off: decoding tells
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if behind and kind not in (b"IDAT", b"IEND"):
            break
        behind = behind or kind == b"IDAT"
        file.seek(length + 4, 1)
    file.seek(place)
    return kind != b"IEND"
