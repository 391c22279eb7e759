"""Stores of small images without votes, and what tests of the API share."""

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from starlette.testclient import TestClient

from thumbtune.feedback.store.store import Store

HOST = "http://127.0.0.1:8421"
Clients = Callable[..., TestClient]  # the rater's name -> a client with their token


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
