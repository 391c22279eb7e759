"""Bytes that are accepted or refused as an image."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thumbtune.feedback import images
from thumbtune.feedback.images import ImageInfo, UnreadableImage, inspect_image, read_image
from thumbtune.feedback.store.store import Store

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
def test_kinds_of_images(paint: Paint, kind: str, suffix: str) -> None:
    assert inspect_image(paint(3, kind)) == ImageInfo(width=16, height=16, suffix=suffix)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_an_image_cut_off_is_refused(paint: Paint, kind: str) -> None:
    data = paint(3, kind, side=64)
    with pytest.raises(UnreadableImage):
        inspect_image(data[: len(data) // 2])


def test_a_png_with_one_wrong_bit_is_refused(paint: Paint) -> None:
    data = bytearray(paint(3, side=64))
    data[len(data) // 2] ^= 1
    with pytest.raises(UnreadableImage):
        inspect_image(bytes(data))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="it is"):
        inspect_image(data)


def test_too_many_pixels(paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="256 pixels and the limit is 100"):
        inspect_image(paint())


def test_a_decompression_bomb_is_refused_before_it_is_decoded(paint: Paint) -> None:
    data = bytearray(paint())
    data[16:24] = (50_000).to_bytes(4, "big") * 2  # the size in the PNG header
    with pytest.raises(UnreadableImage):
        inspect_image(bytes(data))


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_width_and_height_are_those_of_the_upright_image(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    look = inspect_image(written(Image.new("RGB", (24, 16)), kind, exif=exif))
    assert (look.width, look.height) == (16, 24)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_pixel_that_png_has(mode: str) -> None:
    assert inspect_image(written(Image.new(mode, (3, 2)), "PNG")) == ImageInfo(width=3, height=2, suffix=".png")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_black_and_a_white_are_refused(mode: str) -> None:
    with pytest.raises(UnreadableImage, match="its pixel values have no defined range; save it with 8"):
        inspect_image(written(Image.new(mode, (3, 2)), "TIFF"))


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_an_image_of_no_pixels_is_refused(paint: Paint, kind: str, width: int, height: int) -> None:
    data = bytearray(paint(kind=kind))
    if kind == "PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif kind == "TIFF":
        for tag, side in ((256, width), (257, height)):
            at = data.index(struct.pack("<HHI", tag, 4, 1))
            data[at + 8 : at + 12] = struct.pack("<I", side)
    else:
        data[6:10] = struct.pack("<HH", width, height)
        at = data.index(b",", 10 + 3 * 256)  # the first frame's own size
        data[at + 5 : at + 9] = struct.pack("<HH", width, height)
    with pytest.raises(UnreadableImage, match=r"it is not a whole|it has no pixels"):
        inspect_image(bytes(data))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_film_is_an_image(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    look = inspect_image(written(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert (look.width, look.height) == (8, 8)


def test_a_film_cut_off_in_its_first_frame_is_refused() -> None:
    noise = Image.fromarray(np.arange(64 * 64, dtype=np.uint32).view(np.uint8).reshape(64, 256)[:, :64].copy())
    data = written(noise, "GIF", save_all=True)
    with pytest.raises(UnreadableImage, match="it is not a whole"):
        inspect_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
    ],
)
def test_kinds_that_are_not_read_say_what_to_do(data: bytes, kind: str) -> None:
    with pytest.raises(UnreadableImage, match=f"it is {kind}, which is not supported; convert it to PNG or JPEG"):
        inspect_image(data)


def test_a_kind_that_pillow_reads_and_browsers_do_not() -> None:
    with pytest.raises(UnreadableImage, match="it is JPEG 2000"):
        inspect_image(written(Image.new("RGB", (16, 16)), "JPEG2000"))


@pytest.mark.skipif(not images.READS_AVIF, reason="this Pillow does not read AVIF")
def test_avif_is_read_where_pillow_reads_it(file_store: Store) -> None:
    data = written(Image.new("RGB", (16, 12), "red"), "AVIF")
    assert inspect_image(data) == ImageInfo(width=16, height=12, suffix=".avif")
    with pytest.raises(UnreadableImage, match="it is not a whole"):
        inspect_image(data[:-20])
    image = file_store.add_image(data, "a red page")
    (kept,) = (file_store.folder or Path()).rglob("*.avif")
    assert kept.read_bytes() == data and image


def test_avif_is_named_where_pillow_does_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "UNSUPPORTED_FORMATS", ((4, (b"ftypavif",), "AVIF"),))
    with pytest.raises(UnreadableImage, match="it is AVIF, which is not supported; convert it to PNG or JPEG"):
        inspect_image(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1")


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0*\0\0\0\x08\0\xff", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_damaged_exif_is_met_when_it_is_imported_or_never(exif: bytes) -> None:
    try:
        inspect_image(written(Image.new("RGB", (8, 8)), "JPEG", exif=exif))
    except UnreadableImage as error:
        assert "it is not a whole" in str(error)


@given(data=st.binary(max_size=200), kind=st.sampled_from(sorted(images.FORMATS)), at=st.integers(0, 400))
def test_whatever_the_bytes_it_is_a_look_or_a_sentence(data: bytes, kind: str, at: int) -> None:
    whole = written(Image.new("RGB", (8, 8), "red"), kind)
    for mixed in (data, whole[:at] + data, whole[:at] + data + whole[at + len(data) :]):
        try:
            assert inspect_image(mixed).width >= 1
        except UnreadableImage as error:
            assert str(error).startswith("it")


def test_reading_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert read_image(tmp_path / "a") == b"123"
    for missing in (tmp_path / "b", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(UnreadableImage):
            read_image(missing)
    monkeypatch.setattr(images, "MAX_BYTES", 2)
    with pytest.raises(UnreadableImage, match="larger"):
        read_image(tmp_path / "a")
