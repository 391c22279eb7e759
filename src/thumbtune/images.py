"""A picture of any mode as the RGB that a person would see on a white page."""

import numpy as np
from PIL import Image

STEPS_OF_16_BITS = 257  # (2^16 - 1) / (2^8 - 1)


def rgb(image: Image.Image) -> Image.Image:
    """RGB, transparency laid on white, 16 bits scaled to 8: Pillow would clip them, which turns almost all white."""
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image.convert("RGBA"))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.array(image).astype(np.uint16) / STEPS_OF_16_BITS).round().astype(np.uint8))
    return image.convert("RGB")
