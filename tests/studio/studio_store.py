"""Stores of small images without votes."""

import io
from pathlib import Path

from PIL import Image

from thumbtune.feedback.store.store import Store


def png(number: int, side: int = 16) -> bytes:
    """The bytes of a small image of one colour; another number is another image."""
    colour = (number * 53 % 256, number // 256 % 256, number * 7 % 256)
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def fill(where: Path, count: int) -> list[int]:
    """Put images without votes into a store; return their ids."""
    with Store.open(where) as store, store.transaction():
        return [store.add_image(png(number), f"thing {number}").id for number in range(count)]
