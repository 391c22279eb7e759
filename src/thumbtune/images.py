"""A picture of any mode as the RGB that a person would see on a white page."""

import numpy as np
from PIL import Image, ImageOps

WHITE_OF_16_BITS = 2**16 - 1
STEPS_OF_16_BITS = 257  # (2^16 - 1) / (2^8 - 1)


def rgb(image: Image.Image) -> Image.Image:
    """RGB, upright as the camera's EXIF says, transparency laid on white, 16 bits scaled to 8; a film's first frame.

    Pillow would clip the 16 bits of a grey picture, which turns almost all white. Of 16-bit colour it keeps the upper
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
    """The same in 8 bits. A PNG may name one grey that is transparent: it shows the page."""
    grey = np.array(image).astype(np.int64)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[grey == transparent] = WHITE_OF_16_BITS
    return Image.fromarray((grey.clip(0, WHITE_OF_16_BITS) / STEPS_OF_16_BITS).round().astype(np.uint8))
