"""Images and rows without what their makers wrote into them; the pixels stay."""

import io

import pytest
from PIL import Image, PngImagePlugin
from refusals import refused

from thumbtune.feedback.exporters import bare as module
from thumbtune.feedback.exporters.bare import bare, without_metadata
from thumbtune.feedback.exporters.rows import Row
from thumbtune.files import sha256

ORIENTATION = 0x0112


def picture(mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (3, 2))
    for i in range(6):
        image.putpixel((i % 3, i // 3), tuple(40 * i + k for k in range(len(mode))) if len(mode) > 1 else 40 * i)
    return image


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    into = io.BytesIO()
    image.save(into, form, **options)
    return into.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_png_loses_its_text_and_no_pixel(mode: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a secret")
    info.add_itxt("workflow", "another secret", zip=True)
    data = saved(picture(mode), "PNG", pnginfo=info, dpi=(72, 72)) + b"a secret behind the end"
    plain = without_metadata(data)
    assert b"secret" not in plain and b"workflow" not in plain and not opened(plain).text  # type: ignore[attr-defined]
    assert opened(plain).mode == mode and opened(plain).tobytes() == picture(mode).tobytes()


def test_an_image_without_metadata_keeps_its_bytes() -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        data = saved(picture(), form)
        assert without_metadata(data) is data


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_an_image_that_exif_turns_is_turned(form: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "a secret camera"
    options = {"quality": 100, "lossless": True} if form != "PNG" else {}
    plain = without_metadata(saved(picture(), form, exif=exif, **options))
    assert b"secret" not in plain and opened(plain).size == (2, 3)
    if form != "JPEG":
        assert opened(plain).tobytes() == picture().rotate(-90, expand=True).tobytes()


def test_a_comment_of_a_jpeg_goes() -> None:
    plain = without_metadata(saved(picture(), "JPEG", comment=b"a secret"))
    assert b"secret" not in plain and opened(plain).format == "PNG"


def test_an_animation_with_metadata_is_refused() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    frames = [picture(), picture().rotate(180)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], exif=exif, lossless=True)
    with refused("export-metadata", naming="clip.webp"):
        without_metadata(data, "clip.webp")
    bare_clip = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert without_metadata(bare_clip) is bare_clip


def test_rows_lose_text_and_paths_and_get_the_hash_of_what_is_left() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a secret")
    data = saved(picture(), "PNG", pnginfo=info)
    cells = {"reason": "because", "source": "/home/ann/x.csv", "model": "/home/ann/my-model", "rater": "rater-1"}
    cells |= {"prompt": "a cat", "image_id": sha256(data)}
    rows = [*bare([Row(cells=cells, image=data, name="x.png"), Row(cells=cells, image=data, name="x.png")])]
    assert rows[0].cells == rows[1].cells and len(rows) == 2
    assert rows[0].cells["reason"] is None and rows[0].cells["source"] is None
    assert rows[0].cells["model"] == "my-model" and rows[0].cells["prompt"] == "a cat"
    assert rows[0].cells["image_id"] == sha256(rows[0].image) and rows[0].name == f"{sha256(rows[0].image)}.png"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("owner/model", "owner/model"),
        (None, None),
        ("./models/mine", "mine"),
        (r"C:\Users\ann\mine", "mine"),
        ("tiny-emoji-64", "tiny-emoji-64"),
        ("a/b/c", "c"),
    ],
)
def test_a_model_keeps_its_name_and_not_its_folders(model: str | None, name: str | None) -> None:
    assert module._named(model) == name
