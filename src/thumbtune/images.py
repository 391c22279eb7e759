"""An image of any mode as the RGB that a person would see on a white page."""

import numpy as np
from PIL import Image, ImageOps

WHITE_OF_16_BITS = 2**16 - 1
STEPS_OF_16_BITS = 257  # (2^16 - 1) / (2^8 - 1)
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
