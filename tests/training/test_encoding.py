"""A latent follows from its image alone: not from its neighbours, the cache, repairs, or options of the run."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refused
from torch import Tensor

from thumbtune.training.cache import Cache, is_finite
from thumbtune.training.encoded import Encoded
from thumbtune.training.packs import Packs
from thumbtune.training.progress import quiet

COUNT = 10
PROMPTS = list("abcdefghij")


def noise(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def encoded(make_likes: Callable[..., Any]) -> Callable[..., Encoded]:
    """(model, cache, numbers of images) -> the likes of these images, not yet encoded."""

    def make(model: Any, folder: Path, numbers: Sequence[int] = range(COUNT)) -> Encoded:
        images, ids = [noise(i) for i in numbers], [f"image-{i}" for i in numbers]
        likes = make_likes(images, [i % 2 == 0 for i in numbers], prompts=[PROMPTS[i] for i in numbers], ids=ids)
        return Encoded(likes, model, Cache(folder))

    return make


def values(one: Encoded) -> dict[str, Tensor]:
    latents = dict(zip(one.image_ids, one.latents(range(len(one))), strict=True))
    return latents | {prompt: one.condition([prompt])["text"][0] for prompt in one.prompts}


def kept_from_a_kill(one: Encoded, after: int) -> None:
    """Encode until a chunk of the size `after` is stored, then stop as a killed process does."""

    class Killed(BaseException):
        pass

    def progress(chunks: Any, what: str) -> Any:
        yield next(iter(chunks))
        raise Killed

    with pytest.raises(Killed):
        one.fill(progress, at_once=after)


@pytest.mark.parametrize("after", [1, 3, 7])
def test_a_kill_amid_encoding_changes_no_bit(
    make_diffusion: Any, encoded: Callable[..., Encoded], tmp_path: Path, after: int
) -> None:
    model = make_diffusion()
    whole = values(encoded(model, tmp_path / "whole").fill())
    broken = encoded(model, tmp_path / "broken")
    kept_from_a_kill(broken, after)
    assert sum(broken.cache.has(broken._image_key(name)) for name in broken.image_ids) == after
    again = values(encoded(model, tmp_path / "broken").fill())
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("shared", [[9], [0, 5, 6], [8, 7, 2, 1]], ids=str)
def test_another_run_that_filled_a_part_of_the_cache_changes_no_bit(
    make_diffusion: Any, encoded: Callable[..., Encoded], tmp_path: Path, shared: list[int]
) -> None:
    model = make_diffusion()
    whole = values(encoded(model, tmp_path / "whole").fill())
    encoded(model, tmp_path / "shared", shared).fill(at_once=2)
    mine = values(encoded(model, tmp_path / "shared").fill())
    assert all(torch.equal(whole[name], mine[name]) for name in whole)


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_processes_that_share_the_encoding_do_each_image_and_prompt_once(
    make_diffusion: Any, encoded: Callable[..., Encoded], tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_diffusion()
    whole = values(encoded(model, tmp_path / "whole").fill())
    done: list[str] = []
    encode, embed = model.encode, model.embed
    monkeypatch.setattr(model, "encode", lambda images, **how: (done.append("image"), encode(images, **how))[1])
    monkeypatch.setattr(model, "embed", lambda prompts: (done.append("prompt"), embed(prompts))[1])
    for place in range(count):
        encoded(model, tmp_path / "shared").fill_share(place, count)
    assert done.count("image") == COUNT and done.count("prompt") == COUNT + 1  # and the empty one
    mine = values(encoded(model, tmp_path / "shared").fill())
    assert len(done) == 2 * COUNT + 1
    assert whole.keys() == mine.keys() and all(torch.equal(whole[name], mine[name]) for name in whole)


@pytest.mark.parametrize("at_once", [1, 4, 16])
def test_the_size_of_a_chunk_changes_no_bit(
    make_diffusion: Any, encoded: Callable[..., Encoded], tmp_path: Path, at_once: int
) -> None:
    model = make_diffusion()
    alone = values(encoded(model, tmp_path / "alone", [4]).fill())
    many = values(encoded(model, tmp_path / "many").fill(at_once=at_once))
    assert all(torch.equal(alone[name], many[name]) for name in alone)
    assert torch.equal(alone["image-4"], model.encode([noise(4)])[0])


@pytest.mark.parametrize("part", ["length", "header", "first", "middle", "last"])
def test_a_bit_that_turns_in_the_cache_is_named_and_its_tensors_are_made_again(
    make_diffusion: Any, encoded: Callable[..., Encoded], tmp_path: Path, part: str, caplog: Any
) -> None:
    model = make_diffusion()
    before = values(encoded(model, tmp_path).fill())
    of_prompts = model.fingerprints()[1]
    keys = [*map(encoded(model, tmp_path)._key_of, range(COUNT)), *(f"prompt-alone:{of_prompts}:{p}" for p in PROMPTS)]
    records = [record for key in keys if (record := Packs(tmp_path).find(key))]
    assert len(records) == 2 * COUNT
    for record in records:
        data = bytearray(record.pack.read_bytes())
        tensors = 8 + int.from_bytes(data[record.start : record.start + 8], "little")
        place = {"length": 1, "header": 30, "first": tensors, "middle": record.length // 2, "last": record.length - 1}
        data[record.start + place[part]] ^= 1
        record.pack.write_bytes(data)
    again = encoded(model, tmp_path).fill()
    for record in records:
        assert f"byte {record.start:,} of the cached file {record.pack} was damaged" in caplog.text
    after = values(again)
    assert all(torch.equal(before[name], after[name]) for name in before)


class Fading:
    """What gives a model NaN latents for the images whose first pixel is dark."""

    def __init__(self, model: Any, share: float) -> None:
        self.model, self.share, self.asked = model, share, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        latents = self.model.encode(images)
        for i in range(len(images)):
            if self.asked % 10 < 10 * self.share:
                latents[i, 0, 0, 0] = float("nan") if self.asked % 2 else float("inf")
            self.asked += 1
        return latents


@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 1.0])
def test_latents_that_are_not_finite_are_named_and_never_cached(
    make_diffusion: Any, encoded: Callable[..., Encoded], tmp_path: Path, share: float, caplog: Any
) -> None:
    model = make_diffusion()
    one = encoded(Fading(model, share), tmp_path)
    wrong, enough = int(COUNT * share), COUNT // 2
    if wrong < enough:
        one.fill(strict=True)
        assert all(word in caplog.text for word in [f"{wrong} image", *one.image_ids[: min(3, wrong)], "leaves them"])
        assert (~one.latents(range(COUNT)).isfinite()).flatten(1).any(1).sum() == wrong
    else:
        with refused("encoding-not-finite", naming=["images", *one.image_ids[:3]]):
            one.fill(strict=True, at_once=1)
    stored = [name for name in one.image_ids if one.cache.has(one._image_key(name))]
    assert stored == ([] if wrong >= enough else one.image_ids[wrong:])
    assert all(is_finite(one.cache.get(one._image_key(name))) for name in stored)
    sound = encoded(model, tmp_path).fill(quiet, strict=True)  # the cache is as good as new
    assert sound.latents(range(COUNT)).isfinite().all()


def test_a_prompt_that_is_not_finite_is_refused(
    make_diffusion: Any, encoded: Callable[..., Encoded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_diffusion()
    embed = type(model).embed

    def breaking(self: Any, texts: Sequence[str]) -> dict[str, Tensor]:
        return {"text": embed(self, texts)["text"] * (math.nan if "c" in texts else 1)}

    monkeypatch.setattr(type(model), "embed", breaking)
    with refused("encoding-not-finite", naming="'c'"):
        encoded(model, tmp_path).fill(strict=True)
