"""Where an image's bytes end: the length of what Pillow writes, in each format and mode."""

import io

import pytest
from PIL import Image

from thumbtune.feedback.image_ends import image_end

WAYS = {
    "png": {"format": "PNG"},
    "apng": {"format": "PNG", "save_all": True, "append_images": [Image.new("RGB", (9, 7), "red")]},
    "jpeg": {"format": "JPEG"},
    "progressive": {"format": "JPEG", "progressive": True},
    "restarts": {"format": "JPEG", "restart_marker_rows": 1, "quality": 100},
    "comment": {"format": "JPEG", "comment": b"\xff\xd9<html>"},
    "thumbnail": {"format": "JPEG", "exif": b"Exif\0\0" + b"\xff\xd8\xff\xd9" * 3},
    "webp": {"format": "WEBP"},
    "lossless": {"format": "WEBP", "lossless": True, "exif": b"Exif\0\0abc"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(9, 7), (16, 16), (300, 200)])
def test_the_end_is_the_last_byte_that_was_written(way: str, size: tuple[int, int]) -> None:
    image, file = Image.effect_noise(size, 60).convert("RGB"), io.BytesIO()
    image.save(file, **WAYS[way])
    data = file.getvalue()
    assert image_end(data) == len(data)
    assert image_end(data + b"PK\3\4<script>" + data) == len(data)
    assert image_end(data[:-1]) is None and image_end(data[: len(data) // 2]) is None


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"<svg/>", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8\xff"]
)
def test_other_bytes_have_no_end(data: bytes) -> None:
    assert image_end(data) is None
