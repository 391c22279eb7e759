"""Clips from files: which frames an animation or a video shows at a rate, and files that are written and read again."""

import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from thumbtune import videos
from thumbtune.clips import Clip, count_frames, frames_of, of_each_frame, read_clip, usable, write_clip
from thumbtune.images import rgb, upright_size

GREYS = (0, 50, 100, 150, 200, 250)
KINDS = ["GIF", "WEBP", "PNG"]


def grey(level: int, size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new("RGB", size, (level,) * 3)


def film(kind: str, frames: list[Image.Image], duration: Any = 100, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    whole = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=duration, **whole, **options)
    return io.BytesIO(file.getvalue())


def levels(image: Image.Image) -> list[int]:
    return [frame.getpixel((0, 0))[0] for frame in frames_of(image)]  # type: ignore[index]


def video(
    path: Path, frames: list[Image.Image], rate: Fraction | int = 10, codec: str = "libx264rgb", **options: Any
) -> Path:
    """A video file; skips without PyAV."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (10, [0, 50, 100, 150, 200, 250]),  # its own rate
        (5, [50, 150, 250]),  # the frames at 0.1 s, 0.3 s and 0.5 s
        (20, [0, 0, 50, 50, 100, 100, 150, 150, 200, 200, 250, 250]),
        (1, [0]),  # one frame is the first, as of an image
    ],
)
def test_frames_are_those_that_are_shown_at_the_rate(kind: str, rate: int, expected: list[int]) -> None:
    file = film(kind, [grey(level) for level in GREYS])
    found = read_clip(file, rate, 99)
    assert levels(found) == expected
    assert count_frames(file, rate, 99) == len(expected)
    assert isinstance(found, Clip) == (len(expected) > 1)
    assert levels(read_clip(file, rate, 2)) == expected[:2] and count_frames(file, rate, 2) == min(2, len(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_frames_last_as_long_as_the_file_says(kind: str) -> None:
    file = film(kind, [grey(level) for level in GREYS[:3]], [300, 100, 200])
    assert levels(read_clip(file, 10, 99)) == [0, 0, 0, 50, 100, 100]
    assert levels(read_clip(file, 4, 99)) == [0, 50]  # at 0.125 s and 0.375 s; 0.625 s is behind the end


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_without_a_time_is_shown_for_a_tenth_of_a_second(kind: str) -> None:
    file = film(kind, [grey(level) for level in GREYS[:3]], 0)
    assert levels(read_clip(file, 10, 99)) == [0, 50, 100]


@pytest.mark.parametrize("rate", [16, 24, 25, 30])
@pytest.mark.parametrize("count", [2, 17, 33])
def test_a_written_clip_has_its_own_frames(tmp_path: Path, rate: int, count: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    noise[2:4] = noise[1]  # a frame that stays, which a file may join with the one before
    clip = Clip([Image.fromarray(one) for one in noise], rate)
    path = write_clip(tmp_path / "a.webp", clip)
    again = read_clip(path, rate, 999)
    assert np.array_equal(np.stack([np.array(frame) for frame in frames_of(again)]), noise)
    assert count_frames(path, rate, 999) == count
    with Image.open(path) as opened:
        assert opened.info["loop"] == 0 and opened.format == "WEBP"


def test_frames_are_upright_on_white() -> None:
    first, second = (Image.new("RGBA", (8, 6), (255, 0, 0, alpha)) for alpha in (0, 255))
    clip = read_clip(film("WEBP", [first, second], exact=True), 10, 9)
    assert [frame.getpixel((0, 0)) for frame in frames_of(clip)] == [(255, 255, 255), (255, 0, 0)]
    assert all(frame.mode == "RGB" for frame in frames_of(clip))
    left = Image.new("RGB", (8, 6))
    left.paste((255, 0, 0), (0, 0, 4, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = read_clip(film("WEBP", [left, grey(9)], exif=exif.tobytes()), 10, 9)
    assert [frame.size for frame in frames_of(turned)] == [(6, 8)] * 2
    assert turned.getpixel((3, 0)) == (255, 0, 0) != turned.getpixel((3, 7))


def test_an_image_before_an_animated_png_is_no_frame() -> None:
    file = io.BytesIO()
    grey(9).save(file, "PNG", save_all=True, default_image=True, append_images=[grey(50), grey(100)], duration=100)
    assert levels(read_clip(io.BytesIO(file.getvalue()), 10, 9)) == [50, 100]
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        assert levels(rgb(opened)) == [9]  # as an image it is what a program without animations shows


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG", "GIF"])
def test_pages_are_no_frames(kind: str) -> None:
    file = io.BytesIO()
    pages = {"save_all": True, "append_images": [grey(50)]} if kind == "TIFF" else {}
    grey(9).save(file, kind, **pages)
    assert count_frames(io.BytesIO(file.getvalue()), 25, 9) == 1
    found = read_clip(io.BytesIO(file.getvalue()), 25, 9)
    assert not isinstance(found, Clip) and abs(levels(found)[0] - 9) <= 1


def test_a_clip_is_used_as_its_first_frame() -> None:
    clip = Clip([grey(50), grey(200)], 16)
    assert levels(rgb(clip)) == [50] and not isinstance(rgb(clip), Clip)
    assert clip.size == (8, 6) and not isinstance(clip.copy(), Clip) and not isinstance(clip.resize((4, 4)), Clip)
    mirrored = of_each_frame(clip, lambda one: one.resize((4, 4)))
    assert isinstance(mirrored, Clip) and mirrored.rate == 16
    assert [frame.size for frame in frames_of(mirrored)] == [(4, 4)] * 2 and levels(mirrored) == [50, 200]
    assert [usable(count, 4) for count in (1, 4, 5, 8, 9, 81)] == [1, 1, 5, 5, 9, 81]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_frame_is_an_error(kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    data = film(kind, [Image.fromarray(one) for one in noise]).getvalue()
    cut = io.BytesIO(data[: len(data) * 5 // 6])
    with pytest.raises(OSError, match=r"damaged|truncated|identify|decoder"):
        count_frames(cut, 10, 99)


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", ".mp4"),
        (b"\0\0\0\x18ftypmp42", ".mp4"),
        (b"\0\0\0\x14ftypqt  ", ".mov"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", ".mov"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm", ".webm"),
        (b"\x1a\x45\xdf\xa3\xa3B\x86\x81\x01B\x82\x88matroska", ".mkv"),
        (b"\0\0\0\x20ftypavif", None),
        (b"\0\0\0\x20ftypheic", None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"", None),
    ],
)
def test_videos_are_told_by_their_first_bytes(head: bytes, suffix: str | None) -> None:
    assert videos.suffix_of(head) == suffix and videos.is_video(io.BytesIO(head)) == (suffix is not None)


def test_a_video_without_the_library_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    file = io.BytesIO(b"\0\0\0\x18ftypmp42" + bytes(100))
    for use in (lambda: upright_size(file), lambda: count_frames(file, 16, 9), lambda: read_clip(file, 16, 9)):
        with refused("video-library-missing", naming="pip install 'thumbtune[video]'"):
            use()


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("webm", "libvpx-vp9")])
def test_frames_of_a_video(tmp_path: Path, suffix: str, codec: str) -> None:
    path = video(tmp_path / f"a.{suffix}", [grey(level, (64, 32)) for level in GREYS], codec=codec)
    assert upright_size(path) == (32, 64)
    for rate, expected in ((10, GREYS), (5, GREYS[1::2]), (20, [level for level in GREYS for _ in range(2)])):
        found = read_clip(path, rate, 99)
        assert np.abs(np.array(levels(found)) - expected).max() <= 6 and len(levels(found)) == len(expected)
        assert count_frames(path, rate, 99) == len(expected)
    for count in (3, 1):  # a single frame is read anew
        assert levels(read_clip(io.BytesIO(path.read_bytes()), 10, count)) == levels(read_clip(path, 10, count))


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), 16, 30])
def test_a_video_of_the_models_rate_gives_each_frame_once(tmp_path: Path, rate: Fraction | int) -> None:
    many = [grey(5 * number, (64, 32)) for number in range(33)]
    path = video(tmp_path / "a.mp4", many, rate, codec="libx264")
    found = levels(read_clip(path, float(rate), 99))
    assert len(found) == 33 and np.abs(np.array(found) - 5 * np.arange(33)).max() <= 6


def test_a_damaged_video_is_an_error(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", [grey(level, (64, 32)) for level in GREYS], codec="libx264")
    data = path.read_bytes()
    for cut in (data[: len(data) // 2], data[:40], data[:12]):
        with pytest.raises(OSError, match="video"):
            count_frames(io.BytesIO(cut), 10, 99)


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),
    [
        ((1, 0, 0, 1), (96, 64), (5, 5)),
        ((-1, 0, 0, 1), (96, 64), (90, 5)),  # mirrored, as by some front cameras
        ((1, 0, 0, -1), (96, 64), (5, 58)),
        ((-1, 0, 0, -1), (96, 64), (90, 58)),
        ((0, 1, -1, 0), (64, 96), (58, 5)),  # a phone that is held upright
        ((0, -1, 1, 0), (64, 96), (5, 90)),
        ((0, 1, 1, 0), (64, 96), (5, 5)),
        ((0, -1, -1, 0), (64, 96), (58, 90)),
    ],
)
def test_a_video_is_turned_and_mirrored_as_its_head_says(
    tmp_path: Path, matrix: tuple[int, ...], size: tuple[int, int], corner: tuple[int, int]
) -> None:
    left_upper = Image.new("RGB", (96, 64))
    left_upper.paste((255, 255, 255), (0, 0, 48, 32))
    path = video(tmp_path / "a.mp4", [left_upper] * 3, codec="libx264")
    data, (a, b, c, d) = bytearray(path.read_bytes()), (65536 * one for one in matrix)
    data[(place := data.index(b"tkhd") + 44) : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(data)
    found = read_clip(path, 10, 99)
    assert [frame.size for frame in frames_of(found)] == [size] * 3 and upright_size(path) == size[::-1]
    corners = [(x, y) for x in (5, size[0] - 6) for y in (5, size[1] - 6)]
    assert [each for each in corners if found.getpixel(each)[0] > 128] == [corner]  # type: ignore[index]
