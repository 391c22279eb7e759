"""Which bytes count as a picture."""

from collections.abc import Callable
from pathlib import Path

import pytest

from thumbtune.feedback import pictures
from thumbtune.feedback.pictures import Look, UnreadablePicture, look_at, read_picture

Paint = Callable[..., bytes]


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("PNG", ".png"),
        ("JPEG", ".jpg"),
        ("WEBP", ".webp"),
        ("GIF", ".gif"),
        ("BMP", ".bmp"),
        ("TIFF", ".tif"),
    ],
)
def test_kinds_of_pictures(paint: Paint, kind: str, suffix: str) -> None:
    assert look_at(paint(3, kind)) == Look(width=16, height=16, suffix=suffix)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_a_picture_cut_off_is_refused(paint: Paint, kind: str) -> None:
    data = paint(3, kind, side=64)
    with pytest.raises(UnreadablePicture):
        look_at(data[: len(data) // 2])


def test_a_png_with_one_wrong_bit_is_refused(paint: Paint) -> None:
    data = bytearray(paint(3, side=64))
    data[len(data) // 2] ^= 1
    with pytest.raises(UnreadablePicture):
        look_at(bytes(data))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture, match="it is"):
        look_at(data)


def test_too_many_pixels(paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    with pytest.raises(UnreadablePicture, match="256 pixels and the limit is 100"):
        look_at(paint())


def test_a_decompression_bomb_is_refused_before_it_is_decoded(paint: Paint) -> None:
    data = bytearray(paint())
    data[16:24] = (50_000).to_bytes(4, "big") * 2  # the size in the PNG header
    with pytest.raises(UnreadablePicture):
        look_at(bytes(data))


def test_reading_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert read_picture(tmp_path / "a") == b"123"
    for missing in (tmp_path / "b", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(UnreadablePicture):
            read_picture(missing)
    monkeypatch.setattr(pictures, "MAX_BYTES", 2)
    with pytest.raises(UnreadablePicture, match="larger"):
        read_picture(tmp_path / "a")
