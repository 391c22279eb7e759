"""Images that a CPU draws at once are as many as fit, and each is the image of its prompt and seed."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from thumbtune.errors import ThumbtuneError
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler
from thumbtune.runs import drawn_at_once
from thumbtune.runs.drawn_at_once import at_once, halved

Pipeline = Callable[[str], Path]
GIB = 2**30


def test_fewer_images_fit_by_hand() -> None:
    assert [halved(8, 1000, 100, room) for room in (1871, 1869, 1431, 1429, 1211, 1209, 0)] == [8, 4, 4, 2, 2, 1, 1]
    assert halved(16, 1000, 0, 1100) == 16 and halved(1, 1000, 100, 0) == 1


@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_free_memory_bounds_the_images_of_a_large_size(
    kind: str, tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, seen = str(tiny_pipeline(kind)), []
    monkeypatch.setattr(
        drawn_at_once, "drawing", lambda model, count, size, prompt: seen.append(size) or (1 + count) * GIB
    )
    for free, count in ((64, 8), (6, 4), (4, 2), (3, 1)):
        monkeypatch.setattr(drawn_at_once, "free_in_machine", lambda free=free: free * GIB)
        assert at_once(name, None, 512, 8) == count
        assert at_once(name, None, None, 8) == 8 and at_once(name, None, 64, 8) == 8  # 8 small ones are cheap
    assert set(seen) == {512}
    for free in (2, 0):
        monkeypatch.setattr(drawn_at_once, "free_in_machine", lambda free=free: free * GIB)
        with pytest.raises(ThumbtuneError) as refused:
            at_once(name, None, 512, 1)
        assert refused.value.code == "memory-too-small-to-draw"
    monkeypatch.setattr(drawn_at_once, "processes_here", lambda: 4)
    monkeypatch.setattr(drawn_at_once, "free_in_machine", lambda: 16 * GIB)
    assert at_once(name, None, 512, 8) == 2
    assert at_once("tiny-emoji-64-that-is-missing", None, 512, 8) == 8  # loading refuses it
    gpu = SimpleNamespace(device=torch.device("cuda"), num_processes=1)
    monkeypatch.setattr(drawn_at_once, "team", lambda: gpu)
    assert at_once(name, None, 512, 8) == 8  # an error tells it there


@pytest.mark.slow
def test_more_images_and_larger_ones_take_more(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(drawn_at_once, "halved", lambda most, one, more, room: asked.append((one, more)) or most)
    for size in (256, (256, 512), 512):
        at_once(str(tiny_pipeline("epsilon")), None, size, 8)
    (one, more), (_, double), (_, four_times) = asked
    assert one > more > 256 * 256 * 3 * 4
    assert double == pytest.approx(2 * more, rel=0.1) and four_times == pytest.approx(4 * more, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_the_longest_prompt_counts_as_it_is_read(
    kind: str, tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(drawn_at_once, "halved", lambda most, one, more, room: asked.append(more) or most)
    name, chunks, cut = str(tiny_pipeline(kind)), PromptEncoding(over_length="chunks"), PromptEncoding()
    for encoding, prompts in ((cut, ["ab"]), (chunks, ["ab"]), (cut, ["ab" * 900]), (chunks, ["ab", "ab" * 900])):
        at_once(name, None, 256, 8, ModelOptions(encoding=encoding), prompts)
    short, alone, cut_off, long = asked
    assert short == alone == cut_off < long


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "free", "fits"),
    [(8192, 2 * GIB, "2048x2048"), ((4096, 2048), GIB, "1024x2048"), (2048, 1, "close other programs")],
)
def test_one_image_that_does_not_fit_is_refused_with_a_size_that_does(
    size: Any, free: int, fits: str, tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(tiny_pipeline("epsilon"))
    monkeypatch.setattr(drawn_at_once, "free_in_machine", lambda: free)
    with pytest.raises(ThumbtuneError) as refused:
        at_once(name, None, size, 1)
    assert refused.value.code == "memory-too-small-to-draw" and fits in str(refused.value)
    if fits[0].isdigit():
        width, height = map(int, fits.split("x"))
        assert at_once(name, None, (height, width), 1) == 1


def test_the_size_that_fits_is_told_of_a_pipeline_of_clips_too(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn_at_once, "drawing", lambda model, count, size, prompt: size[0] ** 2 * GIB // 1024)
    monkeypatch.setattr(drawn_at_once, "free_in_machine", lambda: 4096 * GIB)
    with pytest.raises(ThumbtuneError, match=r"with 1024x1024 \(--size"):
        at_once(str(tiny_pipeline("ltx")), None, (4096, 4096), 1)


def test_an_image_much_larger_than_usual_is_told(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = str(tiny_pipeline("epsilon"))
    monkeypatch.setattr(drawn_at_once, "free_in_machine", lambda: 64 * GIB)
    at_once(name, None, 32, 1)
    assert not [record for record in caplog.records if record.name == "thumbtune"]
    at_once(name, None, 512, 1)
    notes = [record.getMessage() for record in caplog.records if record.name == "thumbtune"]
    assert [note.partition(" has ")[0] for note in notes] == ["An image of 512x512 pixels"]


@pytest.mark.slow
def test_an_image_hardly_depends_on_those_beside_it(make_diffusion: Any) -> None:
    model, sampler = make_diffusion(), Sampler(steps=3, guidance=3.0)
    prompts, seeds = ["a cat", "red dog", "a cat", ""], [1, 2, 3, 4]
    together: list[Image.Image] = model.generate(prompts, seeds, sampler)
    for most in (1, 2):
        parts = [slice(start, start + most) for start in range(0, 4, most)]
        apart = [image for part in parts for image in model.generate(prompts[part], seeds[part], sampler)]
        for one, other in zip(together, apart, strict=True):
            assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1
