"""Odd images, imported from a folder: each is taken as a person sees it, or named with what to do about it."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from thumbtune.feedback.importers import ImportReport, import_likes
from thumbtune.feedback.store.store import Store
from thumbtune.images import rgb

Colour = tuple[int, int, int]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
INFOTEXT = "a fox\nSteps: 20, Seed: 7"
TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("parameters", INFOTEXT)


def made(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def film(kind: str, **options: object) -> bytes:
    frames = [Image.new("RGB", (24, 16), colour) for colour in (RED, BLUE, GREEN)]
    return made(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **options)


def halves(mode: str, left: object, right: object) -> Image.Image:
    """Left and right of one colour each."""
    image = Image.new(mode, (24, 16), left)  # type: ignore[arg-type]
    image.paste(right, (12, 0, 24, 16))  # type: ignore[arg-type]
    return image


def lying(kind: str) -> bytes:
    """An image whose left is its top, as a camera held upright writes it: EXIF's orientation 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return made(halves("RGB", RED, BLUE), kind, exif=exif, **({} if kind == "PNG" else {"quality": 95}))


def grey_of_16_bits() -> bytes:
    return made(Image.fromarray(np.full((16, 24), 128 * 257, dtype=np.uint16)), "PNG")


def colour_of_16_bits() -> bytes:
    """Pillow writes none: eight bytes of a pixel by hand, red a half, green a quarter, blue nothing."""
    row = b"\0" + struct.pack(">3H", 0x8000, 0x4000, 0) * 24
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 24, 16, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * 16)),
        (b"IEND", b""),
    ]
    body = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def indexed(transparent: int) -> bytes:
    image = halves("P", 0, 1)
    image.putpalette([*RED, *BLUE])
    return made(image, "PNG", transparency=transparent)


def placed(folder: Path, **images: bytes) -> Path:
    """Images in like/, with a prompt beside each."""
    (folder / "like").mkdir(parents=True, exist_ok=True)
    for name, data in images.items():
        stem, _, suffix = name.rpartition("_")
        (folder / "like" / f"{stem}.{suffix}").write_bytes(data)
        (folder / "like" / f"{stem}.txt").write_text(f"prompt of {stem}")
    return folder


def kept(store: Store) -> tuple[str, tuple[int, int], list[Colour]]:
    """The one image in a store: the suffix of its file, its size, and the colours of its corners."""
    (row,) = store.labels()
    with Image.open(store.folder / row.image.file) as image:
        seen = rgb(image)
    assert (row.image.width, row.image.height) == seen.size
    corners = [seen.getpixel(at) for at in ((1, 1), (seen.width - 2, 1), (1, seen.height - 2))]
    return row.image.file.rpartition(".")[2], seen.size, corners  # type: ignore[return-value]


def near(one: list[Colour], other: list[Colour], by: int) -> bool:
    return all(abs(a - b) <= by for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize(
    ("data", "suffix", "corners", "by"),
    [
        (film("GIF"), "gif", [RED] * 3, 0),
        (film("PNG"), "png", [RED] * 3, 0),
        (film("WEBP", lossless=True), "webp", [RED] * 3, 0),
        (film("TIFF"), "tif", [RED] * 3, 0),
        (made(halves("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), "JPEG", quality=95), "jpg", [RED, BLUE, RED], 12),
        (made(halves("L", 0, 255), "JPEG", quality=95), "jpg", [(0, 0, 0), WHITE, (0, 0, 0)], 4),
        (grey_of_16_bits(), "png", [(128, 128, 128)] * 3, 0),
        (colour_of_16_bits(), "png", [(128, 64, 0)] * 3, 0),
        (made(halves("RGBA", (*RED, 255), (0, 0, 0, 0)), "PNG"), "png", [RED, WHITE, RED], 0),
        (made(halves("RGBA", (*RED, 255), (*BLUE, 0)), "WEBP", lossless=True), "webp", [RED, WHITE, RED], 0),
        (made(halves("LA", (0, 255), (0, 0)), "PNG"), "png", [(0, 0, 0), WHITE, (0, 0, 0)], 0),
        (indexed(1), "png", [RED, WHITE, RED], 0),
        (made(halves("1", 0, 1), "PNG"), "png", [(0, 0, 0), WHITE, (0, 0, 0)], 0),
    ],
)
def test_what_is_odd_and_whole_is_taken_as_it_is_seen(
    tmp_path: Path, file_store: Store, data: bytes, suffix: str, corners: list[Colour], by: int
) -> None:
    report = import_likes(placed(tmp_path / "mine", **{f"a_{suffix}": data}), file_store)
    assert (report.likes, report.skipped) == (1, [])
    kind, size, seen = kept(file_store)
    assert (kind, size) == (suffix, (24, 16)) and near(seen, corners, by)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_lies_on_its_side_is_put_upright(tmp_path: Path, file_store: Store, kind: str) -> None:
    assert import_likes(placed(tmp_path / "mine", a_png=lying(kind)), file_store).likes == 1
    _, size, corners = kept(file_store)
    assert size == (16, 24) and near(corners, [RED, RED, BLUE], 24)


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp")])
def test_a_wrong_ending_is_put_right(tmp_path: Path, file_store: Store, kind: str, suffix: str) -> None:
    data = made(Image.new("RGB", (24, 16), WHITE), kind)
    assert import_likes(placed(tmp_path / "mine", a_png=data), file_store).likes == 1
    assert kept(file_store) == (suffix, (24, 16), [WHITE] * 3)


def test_a_png_in_disguise_says_its_prompt(tmp_path: Path, file_store: Store) -> None:
    (tmp_path / "like").mkdir()
    (tmp_path / "like" / "a.jpg").write_bytes(made(Image.new("RGB", (24, 16)), "PNG", pnginfo=TEXT))
    import_likes(tmp_path, file_store)
    (row,) = file_store.labels()
    assert (row.image.prompt, row.image.seed) == ("a fox", 7)


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def cut(kind: str) -> bytes:
    data = made(noise(), kind)
    return data[: len(data) // 2]


def bomb() -> bytes:
    """100 million pixels in 12 kB."""
    return made(Image.new("1", (10_000, 10_000)), "PNG", pnginfo=TEXT)


def liar() -> bytes:
    """A PNG that says it is larger than it is."""
    data = bytearray(made(noise(8), "PNG"))
    data[16:24] = struct.pack(">II", 4000, 4000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


WHOLE = "it is not a whole PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF image ("


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: b"", "it is empty; replace it with an intact copy"),
        (lambda: b"\0" * 1000, f"{WHOLE}unknown format); replace it with an intact copy"),
        (lambda: b"<html>404</html>", f"{WHOLE}unknown format); replace it with an intact copy"),
        (lambda: cut("PNG"), WHOLE),
        (lambda: cut("JPEG"), WHOLE),
        (lambda: cut("WEBP"), WHOLE),
        (lambda: cut("GIF"), WHOLE),
        (lambda: cut("BMP"), WHOLE),
        (liar, WHOLE),
        (bomb, "it has 100,000,000 pixels and the limit is 64,000,000; make it smaller"),
        (lambda: made(noise(), "JPEG2000"), "it is JPEG 2000, which is not supported; convert it to PNG or JPEG"),
        (
            lambda: made(Image.new("F", (4, 4)), "TIFF"),
            "its pixel values have no defined range; save it with 8 or 16 bits per colour",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, file_store: Store, make: Callable[[], bytes], why: str) -> None:
    whole = made(noise(8), "PNG")
    report: ImportReport = import_likes(placed(tmp_path / "mine", a_png=make(), b_png=whole), file_store)
    assert (report.likes, report.unreadable) == (1, 1)
    ((where, problem),) = report.skipped
    assert where == "like/a.png" and problem.startswith(why)


def test_what_is_cut_off_without_a_prompt_beside_it(tmp_path: Path, file_store: Store) -> None:
    """The text stands before the pixels, so it is there although they are not."""
    (tmp_path / "like").mkdir()
    data = made(noise(), "PNG", pnginfo=TEXT)
    (tmp_path / "like" / "a.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "like" / "b.png").write_bytes(data)
    (tmp_path / "like" / "c.png").write_bytes(bomb())
    report = import_likes(tmp_path, file_store)
    assert (report.likes, report.unreadable, report.without_prompt) == (1, 2, 0)
    assert [where for where, _ in report.skipped] == ["like/a.png", "like/c.png"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"text and no image\n", "it is not a whole PNG, JPEG, "),
        (b"", "it is empty"),
        (b"\0\0\0\x18ftypheic", "it is HEIC"),
        (b"OggS", "it is a video in Ogg"),
    ],
)
def test_what_is_no_image_is_not_asked_for_a_prompt(tmp_path: Path, file_store: Store, data: bytes, why: str) -> None:
    (tmp_path / "liked").mkdir()
    (tmp_path / "liked" / "broken.png").write_bytes(data)
    (tmp_path / "liked" / "plain.png").write_bytes(made(noise(), "PNG"))
    (tmp_path / "liked" / "whole.png").write_bytes(made(noise(), "PNG", pnginfo=TEXT))
    report = import_likes(tmp_path, file_store)
    assert (report.likes, report.unreadable, report.without_prompt) == (1, 1, 1)
    (broken, problem), (plain, no_prompt) = report.skipped
    assert (broken, plain) == ("liked/broken.png", "liked/plain.png")
    assert problem.startswith(why) and no_prompt.startswith("it has no prompt")
