"""Cells that hold an image or say where one is."""

import base64
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from thumbtune.feedback import images
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading import downloads
from thumbtune.feedback.reading.image_cells import identity_of, image_in, is_image
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.files import sha256

Paint = Callable[..., bytes]


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read(cell: object, folder: Path = Path("/none")) -> bytes:
    return image_in(cell, ImageRoot(folder))()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_every_kind_as_bytes_and_as_base64(paint: Paint, kind: str) -> None:
    data = paint(3, kind)
    text = packed(data)
    lines = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    cells = [
        data,
        bytearray(data),
        memoryview(data),
        {"bytes": data, "path": "x.png"},
        {"bytes": text, "path": None},
        text,
        f" {lines}\n",
        text.rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
        f"data:image/png;base64,{text}",
        f"DATA:;charset=x;BASE64,{text}",
        f"data:image/png,{quote_from_bytes(data)}",
    ]
    assert [read(cell) for cell in cells] == [data] * len(cells)
    assert all(is_image(cell) for cell in cells)


def test_names(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "a.png").write_bytes(paint(1))
    names = ["a.png", " a.png\n", {"bytes": None, "path": "a.png"}, {"path": "a.png"}, {"bytes": b"", "path": "a.png"}]
    assert [read(cell, tmp_path) for cell in names] == [paint(1)] * len(names)
    assert not any(is_image(cell) for cell in names)


@pytest.mark.parametrize("name", ["Qk.png", "iVBORw0KGgo.png", "R0lGOD", "/9j/4AAQ", "UklGR" + "a/" * 20 + "b.png"])
def test_names_that_begin_like_base64(tmp_path: Path, name: str) -> None:
    assert not is_image(name)
    with pytest.raises(UnreadableImage, match=r"does not exist|is outside"):
        read(name, tmp_path)


@pytest.mark.parametrize(
    "cell", [None, "", " ", 7, 0.5, True, b"", [], ["a.png"], {}, {"bytes": b"", "path": None}, {"path": 7}, {"x": "y"}]
)
def test_cells_without_an_image(cell: object) -> None:
    with pytest.raises(UnreadableImage, match="it names no image; fill in file_name or remove the row"):
        image_in(cell, ImageRoot(Path()))
    assert identity_of(cell) is None and not is_image(cell)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("data:image/png;base64", "its data: URL contains no data"),
        ("data:;base64,!!!!", "its base64 text is damaged; export it again"),
        ("data:;base64,AAAAA", "its base64 text is damaged"),
        ("iVBORw0KGgo" + "A" * 300 + "\N{FOX FACE}", "its base64 text is damaged"),
        ({"bytes": "no base64!", "path": None}, "its base64 text is damaged"),
    ],
)
def test_damaged_text(cell: object, words: str) -> None:
    with pytest.raises(UnreadableImage, match=words):
        read(cell)


def test_half_a_character_in_a_data_url() -> None:
    assert read("data:,a\ud800%00") == b"a\xed\xa0\x80\0"


def test_images_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    for cell in (b"x" * 101, "data:,".ljust(200, "x"), f"data:;base64,{packed(b'x' * 101)}"):
        with pytest.raises(UnreadableImage, match="it is larger than 0 MB; make it smaller"):
            read(cell)
    assert read(b"x" * 100) == b"x" * 100


# --- on the web


def test_addresses_are_followed_only_where_somebody_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(downloads, "download", lambda url: asked.append(url) or b"x")
    address = "https://example.org/a.png"
    words = "'https://example.org/a.png' is a URL; use --allow-download, or download it and give its path"
    with pytest.raises(UnreadableImage, match=words):
        image_in(address, ImageRoot(Path()))
    image = image_in({"bytes": None, "path": f" {address} "}, ImageRoot(Path()), allow_download=True)
    assert asked == [], "not before it is needed"
    assert (image(), asked) == (b"x", [address])


@pytest.mark.parametrize("address", ["ftp://example.org/a.png", "s3://bucket/a.png", "javascript://x", "GOPHER://x"])
@pytest.mark.parametrize("allowed", [True, False])
def test_addresses_that_are_never_followed(address: str, allowed: bool) -> None:
    with pytest.raises(UnreadableImage, match="is not an http address; download the image and give its path"):
        image_in(address, ImageRoot(Path()), allowed)


# --- what an image is known by


def test_what_an_image_is_known_by(paint: Paint) -> None:
    data = paint(1)
    text = packed(data)
    assert (
        identity_of(data) == identity_of({"bytes": data, "path": "x"}) == identity_of(bytearray(data)) == sha256(data)
    )
    assert identity_of(text) == identity_of({"bytes": text}) == identity_of(f"data:image/png;base64,{text}") == text
    names = ("a/b.png", "./a/b.png", "a//b.png", " a/b.png", "a\\b.png", {"bytes": None, "path": "a/b.png"})
    assert {identity_of(name) for name in names} == {"a/b.png"}
    assert identity_of("https://x.org//a/../b.png") == "https://x.org//a/../b.png", "a server may tell those apart"
    assert identity_of("../a.png") == "../a.png" != identity_of("a.png") != identity_of("A.png")
