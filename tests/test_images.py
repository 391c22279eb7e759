"""Every kind of image comes out as the colours that a person sees."""

import io
import struct
import zlib

import datasets
import numpy as np
import pytest
from PIL import Image

from thumbtune.images import rgb, upright_size

ORIENTATION = 0x0112
GREY = {0: 0, 128: 0, 129: 1, 257: 1, 32767: 127, 32768: 128, 65278: 254, 65535: 255}  # 16 bits -> 8, by hand: v / 257


def colours(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(pixel) for row in np.asarray(image) for pixel in row]


def reopened(image: Image.Image, kind: str, **options: object) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    opened = Image.open(io.BytesIO(file.getvalue()))
    opened.load()
    return opened


def png(size: tuple[int, int], bits: int, colour: int, rows: bytes, transparent: bytes = b"") -> Image.Image:
    """A PNG written by hand: Pillow writes no 16-bit colour."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
        if data or name != b"tRNS"
    ]
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)))


def quarters() -> Image.Image:
    """32 x 16, each quarter of another colour: no two ways of turning it look alike."""
    image = Image.new("RGB", (32, 16), "red")
    for colour, corner in (("green", (16, 0)), ("blue", (0, 8)), ("white", (16, 8))):
        image.paste(colour, (*corner, corner[0] + 16, corner[1] + 8))
    return image


# what the camera did to an upright image, so that turning it as the EXIF says brings it back
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_turned_image_is_upright(kind: str, orientation: int) -> None:
    upright, turn = quarters(), TURNED[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    seen = rgb(reopened(upright if turn is None else upright.transpose(turn), kind, exif=exif, **options))
    assert seen.size == (32, 16)
    assert np.abs(np.asarray(seen, int) - np.asarray(upright, int)).max() <= 3  # JPEG is off by a little
    assert colours(rgb(seen)) == colours(seen)  # and is not turned again


def test_what_datasets_has_turned_is_not_turned_again() -> None:
    """The table of likes decodes images with `datasets`, which turns them itself."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = io.BytesIO()
    quarters().transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    decoded = datasets.Image().decode_example({"bytes": file.getvalue(), "path": None})
    assert colours(rgb(decoded)) == colours(quarters())


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
def test_16_bits_of_grey(kind: str, mode: str) -> None:
    values = np.array([list(GREY)], dtype=">u2" if mode == "I;16B" else "<u2")
    image = reopened(Image.frombytes(mode, (len(GREY), 1), values.tobytes()), kind)
    assert image.mode == mode
    assert colours(rgb(image)) == [(value,) * 3 for value in GREY.values()]


def test_16_bits_of_grey_as_older_pillows_give_them() -> None:
    image = Image.fromarray(np.array([list(GREY)], dtype=np.int32))
    assert image.mode == "I"
    assert colours(rgb(image)) == [(value,) * 3 for value in GREY.values()]


def test_16_bits_of_grey_with_a_transparent_one() -> None:
    image = png((2, 1), 16, 0, struct.pack(">BHH", 0, 257, 514), transparent=struct.pack(">H", 257))
    assert colours(rgb(image)) == [(255, 255, 255), (2, 2, 2)]


def test_16_bits_of_colour() -> None:
    image = png((2, 1), 16, 2, struct.pack(">BHHHHHH", 0, 65535, 257 * 100, 0, 1, 32768, 65534))
    assert colours(rgb(image)) == [(255, 100, 0), (0, 128, 255)]


def test_16_bits_of_colour_with_transparency() -> None:
    image = png((2, 1), 16, 6, struct.pack(">BHHHHHHHH", 0, 65535, 0, 0, 0, 65535, 0, 0, 65535))
    assert colours(rgb(image)) == [(255, 255, 255), (255, 0, 0)]


def test_1_bit() -> None:
    image = png((4, 1), 1, 0, b"\0\xa0")  # 1010
    assert image.mode == "1"
    assert colours(rgb(image)) == [(255, 255, 255), (0, 0, 0)] * 2


def test_transparency_is_laid_on_white() -> None:
    """By hand: half of black (alpha 128) on white is 255 * 127/255 = 127."""
    half = (127, 127, 127)
    for image in (
        Image.new("RGBA", (1, 1), (0, 0, 0, 128)),
        Image.new("LA", (1, 1), (0, 128)),
        png((1, 1), 8, 4, b"\0\0\x80"),
    ):
        assert colours(rgb(image)) == [half]


def test_a_transparent_colour() -> None:
    assert colours(rgb(png((2, 1), 8, 0, b"\0\x10\x20", b"\0\x10"))) == [(255, 255, 255), (32, 32, 32)]
    assert colours(rgb(png((2, 1), 8, 2, b"\0\1\2\3\4\5\6", b"\0\1\0\2\0\3"))) == [(255, 255, 255), (4, 5, 6)]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_entry(kind: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image = reopened(image, kind, transparency=0)
    assert image.mode == "P"
    assert colours(rgb(image)) == [(255, 255, 255), (0, 0, 255)]


@pytest.mark.parametrize(
    ("ink", "seen"),
    [
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 255, 0), (0, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 0), (255, 255, 255)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_printing_inks(kind: str, ink: tuple[int, ...], seen: tuple[int, ...]) -> None:
    """Pillow writes CMYK JPEG as Adobe does, with all four inverted."""
    image = reopened(Image.new("CMYK", (16, 16), ink), kind)
    assert image.mode == "CMYK"
    assert np.abs(np.asarray(rgb(image), int) - seen).max() <= 2


def test_printing_inks_as_luma_and_chroma() -> None:
    """YCCK: the inverted inks of red are those of cyan, and cyan is Y 179, Cb 171, Cr 1 (ITU-R BT.601)."""
    file = io.BytesIO()
    Image.new("CMYK", (16, 16), (255 - 179, 255 - 171, 255 - 1, 0)).save(file, "JPEG", quality=100)
    data = bytearray(file.getvalue())
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0
    data[adobe + 11] = 2  # the marker's last byte: 0 is CMYK, 2 is YCCK
    image = Image.open(io.BytesIO(bytes(data)))
    assert image.mode == "CMYK"
    assert np.abs(np.asarray(rgb(image), int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_film_is_its_first_frame(kind: str) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    film = reopened(
        first, kind, save_all=True, append_images=[second], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert getattr(film, "n_frames") == 2  # noqa: B009 - pyright does not know it
    assert set(colours(rgb(film))) == {(255, 0, 0)}


def test_nothing_is_done_to_the_image_itself() -> None:
    image = quarters()
    image.getexif()[ORIENTATION] = 6
    assert rgb(image).size == (16, 32)
    assert image.size == (32, 16) and image.getexif()[ORIENTATION] == 6


# --- the size of an image, mostly from the head of its file -------------------------------------------


def as_file(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [0, *TURNED])
def test_the_size_is_that_of_the_upright_image(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    if orientation:
        exif[ORIENTATION] = orientation
    file = as_file(quarters(), kind, exif=exif)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        upright = rgb(image)
    assert upright_size(file) == (upright.height, upright.width)
    assert upright_size(file) == ((32, 16) if orientation > 4 else (16, 32))


@pytest.mark.parametrize("kind", ["GIF", "BMP"])
def test_other_files_are_as_they_lie(kind: str) -> None:
    assert upright_size(as_file(quarters(), kind)) == (16, 32)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_orientation_of_a_png_may_stand_behind_its_pixels(behind: bool, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = as_file(quarters(), "PNG").getvalue()
    place = data.index(b"IEND" if behind else b"IDAT") - 4
    data = data[:place] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + data[place:]
    with Image.open(io.BytesIO(data)) as image:
        upright = rgb(image)
    assert upright_size(io.BytesIO(data)) == (upright.height, upright.width) == ((16, 32), (32, 16))[orientation == 6]


def test_a_plain_png_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(image: Image.Image) -> None:
        raise AssertionError("a PNG was decoded for its size")

    file = as_file(Image.new("RGB", (300, 200), "red"), "PNG", pnginfo=None)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", never)
    assert upright_size(file) == (200, 300)


def test_the_size_of_no_image_is_an_error() -> None:
    with pytest.raises(OSError):
        upright_size(io.BytesIO(b"no image"))
    cut = as_file(quarters(), "PNG").getvalue()[:60]
    with pytest.raises(OSError):
        upright_size(io.BytesIO(cut))
