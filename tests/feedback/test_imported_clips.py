"""Clips in a store: imported byte for byte, within limits, and refused in one sentence."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thumbtune import videos
from thumbtune.clips import frames_of
from thumbtune.feedback import images
from thumbtune.feedback.clips import Clips, clip_of, frames_in_each
from thumbtune.feedback.images import UnreadableImage, inspect_image
from thumbtune.feedback.likes import image_of, likes_of, sizes_of
from thumbtune.feedback.store.store import Store
from thumbtune.files import sha256
from thumbtune.images import rgb

Call = Any
NAMES = ("GIF", "WEBP", "PNG")


def frames(count: int, size: tuple[int, int] = (32, 48)) -> list[Image.Image]:
    noise = np.random.default_rng(count).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in noise]


def film(kind: str, count: int = 6, duration: int = 100) -> bytes:
    file, made = io.BytesIO(), frames(count)
    made[0].save(file, kind, save_all=True, append_images=made[1:], duration=duration)
    return file.getvalue()


def video(suffix: str = "mp4", count: int = 6, rate: int = 10, size: tuple[int, int] = (32, 48)) -> bytes:
    av = pytest.importorskip("av")
    file, kind = io.BytesIO(), {"mkv": "matroska"}.get(suffix, suffix)
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("libvpx-vp9" if suffix == "webm" else "libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for image in frames(count, size):
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return file.getvalue()


def imported(call: Call, folder: Path, **files: bytes) -> tuple[int, str]:
    (folder / "in" / "like").mkdir(parents=True)
    for name, data in files.items():
        path = folder / "in" / "like" / name.replace("_", ".")
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"prompt of {name}")
    code, out, err = call("import", folder / "in", "--likes", folder / "likes")
    return code, out + err


def test_animations_are_kept_byte_for_byte_and_are_their_first_frame_for_images(call: Call, tmp_path: Path) -> None:
    files = {f"a{number}_{kind.lower()}": film(kind) for number, kind in enumerate(NAMES)}
    code, _ = imported(call, tmp_path, **files)
    assert code == 0
    with Store.open(str(tmp_path / "likes"), create=False) as store:
        likes = likes_of(store)
        stored = [Path(store.address_of(label.image)).read_bytes() for label in store.labels()]
        assert stored == list(files.values()) and list(likes["image_id"]) == [sha256(data) for data in stored]
        assert sizes_of(likes) == [(32, 48)] * 3
        assert frames_in_each(likes, 10, 99) == [6] * 3 and frames_in_each(likes, 20, 7) == [7] * 3
        for row, data in enumerate(stored):
            with Image.open(io.BytesIO(data)) as first, image_of(likes, row) as seen:
                assert np.array_equal(np.array(rgb(seen)), np.array(rgb(first)))
            assert len(frames_of(clip_of(likes, row, Clips([5] * 3, 10)))) == 5


def test_a_video_by_another_ending_is_read_by_its_content(call: Call, tmp_path: Path) -> None:
    data = video("mp4")
    code, told = imported(call, tmp_path, a_m4v=data, b_png=film("PNG"))
    assert code == 0 and "0 unreadable" in told, told
    with Store.open(str(tmp_path / "likes"), create=False) as store:
        files = [Path(store.address_of(label.image)) for label in store.labels()]
        (file,) = (each for each in files if each.suffix == ".mp4")
        assert file.read_bytes() == data and frames_in_each(likes_of(store), 10, 99) == [6, 6]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_videos_are_kept_byte_for_byte_and_named_by_what_they_are(call: Call, tmp_path: Path, suffix: str) -> None:
    data = video(suffix)
    code, told = imported(call, tmp_path, a_mp4=data, b_png=film("PNG"))
    assert code == 0, told
    with Store.open(str(tmp_path / "likes"), create=False) as store:
        likes = likes_of(store)
        addresses = [Path(store.address_of(label.image)) for label in store.labels()]
        (address,) = (each for each in addresses if each.suffix != ".png")
        assert address.read_bytes() == data and address.suffix == f".{suffix}"
        assert sizes_of(likes) == [(32, 48)] * 2 and frames_in_each(likes, 10, 99) == [6, 6]
        row = list(likes["image_id"]).index(sha256(data))
        first = frames_of(clip_of(likes, row, Clips([6, 6], 10)))[0]  # in the middle of its tenth of a second
        assert np.array_equal(np.array(image_of(likes, row)), np.array(first))  # without clips, the first frame


@pytest.mark.parametrize("kind", NAMES)
def test_a_damaged_frame_is_refused_in_one_sentence(call: Call, tmp_path: Path, kind: str) -> None:
    data = film(kind)
    _code, told = imported(call, tmp_path, a_webp=data[: len(data) * 9 // 10], b_png=film("PNG"))
    assert "it is not a whole" in told and "Traceback" not in told
    with Store.open(str(tmp_path / "likes"), create=False) as store:
        assert len(list(store.labels())) == 1


def test_a_damaged_video_is_refused_in_one_sentence() -> None:
    data = video()
    for cut in (data[: len(data) // 2], data[:100], data[:16], data[:40] + bytes(len(data) - 40)):
        with pytest.raises(UnreadableImage, match=r"^it is not a whole video \(.*\); replace it with an intact copy$"):
            inspect_image(cut)


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_video_without_its_end_is_refused_though_it_can_be_read(suffix: str, share: float) -> None:
    data = video(suffix, 30)
    assert inspect_image(data).suffix == f".{suffix}"
    with pytest.raises(UnreadableImage, match=r"^it is not a whole video \(its end is missing\); replace it"):
        inspect_image(data[: int(len(data) * share)])


def test_a_streamed_video_has_no_told_end() -> None:
    data = video("webm")
    place = data.index(videos.SEGMENT) + len(videos.SEGMENT)
    unknown = data[:place] + b"\x01" + b"\xff" * 7 + data[place + 8 :]
    assert inspect_image(unknown).suffix == ".webm"


def test_without_the_library_a_video_is_refused_and_the_rest_is_imported(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    _code, told = imported(call, tmp_path, a_mp4=b"\0\0\0\x18ftypmp42" + bytes(100), b_gif=film("GIF"))
    assert "pip install 'thumbtune[video]'" in told
    with Store.open(str(tmp_path / "likes"), create=False) as store:
        assert len(list(store.labels())) == 1


def test_limits_hold_before_a_frame_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = video(count=30)

    def never(*_: Any) -> Any:
        raise AssertionError("a frame was decoded")

    assert inspect_image(data).suffix == ".mp4"
    monkeypatch.setattr(videos, "frames_in", never)
    for limit, value, why in (
        ("MAX_PIXELS", 1000, r"it has 1,536 pixels and the limit is 1,000"),
        ("MAX_SECONDS", 2, r"it is a video of 3 seconds and the limit is 2"),
        ("MAX_CLIP_PIXELS", 20 * 32 * 48, r"it is a video of 30 frames or more and the limit is 20"),
        ("MAX_RATE", 9, r"it is a video of 30 frames or more"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(images, limit, value)
            with pytest.raises(UnreadableImage, match=why):
                inspect_image(data)


def test_of_a_long_animation_only_so_many_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = film("GIF", 9)
    cut = data[: len(data) * 8 // 9]
    with pytest.raises(UnreadableImage, match="it is not a whole"):
        inspect_image(cut)
    monkeypatch.setattr(images, "MAX_CLIP_PIXELS", 4 * 32 * 48)
    assert inspect_image(cut).suffix == ".gif"  # as an image it is whole
