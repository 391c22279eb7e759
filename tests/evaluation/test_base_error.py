"""What the base is asked before training: numbers without a scale that tell one that learnt to denoise from others."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from thumbtune.evaluation.base_error import ASKED, LEAST_FIT, SIGMAS, Level, base_levels, record_of, sentence_of
from thumbtune.models.noise_levels import time_of
from thumbtune.models.process import FlowProcess, VPProcess
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build
from thumbtune.runs.recipe import read_recipe
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded

PROMPTS = ["an apple", "a dog, line art", "a red car", "a cat", "a house, oil painting", "a tree", "a fish", "a star"]
CPU = Accelerator(cpu=True)
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def bundled() -> Any:
    return build.model_of(read_recipe(None, []))


@pytest.fixture(scope="module")
def images(bundled: Any) -> list[Any]:
    return bundled.generate(PROMPTS, list(range(8)), Sampler(steps=12, guidance=3.0))


@pytest.fixture
def encoded(bundled: Any, images: list[Any], make_likes: Make, tmp_path: Path) -> Encoded:
    return Encoded(make_likes(images, [True, False] * 4, PROMPTS), bundled, Cache(tmp_path)).fill()


def at(levels: list[Level], sigma: float, prompted: bool = True) -> Level:
    return next(level for level in levels if (level.sigma, level.prompted) == (sigma, prompted))


@pytest.mark.slow
def test_the_bundled_model_is_better_than_the_simplest_guess_and_has_no_note(bundled: Any, encoded: Encoded) -> None:
    levels = base_levels(bundled, encoded, CPU)
    assert [(level.sigma, level.prompted) for level in levels] == [(sigma, prompted) for sigma, prompted, _ in ASKED]
    assert all(level.relative is not None and 0 < level.relative < 0.9 for level in levels)
    assert all(level.fit is not None and 0.85 < level.fit < 1.1 for level in levels)
    assert sentence_of(levels, 8) is None
    again = base_levels(bundled, encoded, CPU, at_once=3)  # its noise is the images'
    for one, other in zip(levels, again, strict=True):
        assert other.relative == pytest.approx(one.relative, rel=1e-4)


def sampled(model: Any, steps: int = 4) -> Callable[..., Tensor]:
    """What a consistency model says: the noise that leads to a sample, the end of the path of the ODE from here."""
    predict, process = model.predict, model.process
    bar = process.alphas_cumprod

    def call(noisy: Tensor, t: Tensor, condition: Any) -> Tensor:
        x, first = noisy, int(t[0])
        times = torch.linspace(first, 0, steps + 1).long().tolist()
        for now, then in pairwise(times):
            noise = predict(x, torch.full_like(t, now), condition)
            clean = process.clean(x, noise, torch.full_like(t, now))
            x = bar[then].sqrt() * clean + (1 - bar[then]).sqrt() * noise
        return (noisy - bar[first].sqrt() * clean) / (1 - bar[first]).sqrt()

    return call


BROKEN: dict[str, Callable[[Any], Callable[..., Tensor]]] = {
    "zeros": lambda model: lambda x, t, c: torch.zeros_like(x),
    "noise from nowhere": lambda model: (
        lambda x, t, c: torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    ),
    "its input": lambda model: lambda x, t, c: x,
    "the wrong prompts": lambda model: lambda x, t, c: plain(model)(x, t, {k: v.roll(1, 0) for k, v in c.items()}),
    "the opposite": lambda model: lambda x, t, c: -plain(model)(x, t, c),
}


def plain(model: Any) -> Callable[..., Tensor]:
    return type(model).predict.__get__(model)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_base_is_told(kind: str, bundled: Any, encoded: Encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "predict", BROKEN[kind](bundled), raising=False)
    levels = base_levels(bundled, encoded, CPU)
    note = sentence_of(levels, 8)
    assert note is not None and "times that of the simplest guess" in note and "8 of these images" in note
    assert "may be distilled" in note and "\n" not in note


@pytest.mark.slow
def test_one_that_gives_samples_for_guesses_is_told_by_its_sharpness_without_a_prompt(
    bundled: Any, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = at(base_levels(bundled, encoded, CPU), 0.9, prompted=False)
    monkeypatch.setattr(bundled, "predict", sampled(bundled), raising=False)
    levels = base_levels(bundled, encoded, CPU)
    found = at(levels, 0.9, prompted=False)
    assert usual.fit is not None and found.fit is not None and found.relative is not None
    assert found.fit < LEAST_FIT < usual.fit and found.fit < usual.fit - 0.15
    assert usual.relative is not None and found.relative > usual.relative
    note = sentence_of(levels, 8)
    assert note is not None and f"multiplied by {found.fit:.2f}" in note and "without a prompt" in note


def gaussian(process: Any, mean: float, variance: float) -> Callable[..., Tensor]:
    """The best network of independent Gaussian elements, in what the process predicts."""

    def call(noisy: Tensor, t: Tensor, condition: Any) -> Tensor:
        if isinstance(process, FlowProcess):
            spread = (t / process.steps).view(-1, 1, 1, 1)
            signal = 1 - spread
        else:
            alpha = process.alphas_cumprod[t].view(-1, 1, 1, 1)
            signal, spread = alpha.sqrt(), (1 - alpha).sqrt()
        gain = signal * variance / (signal**2 * variance + spread**2)
        clean = mean + gain * (noisy - signal * mean)
        noise = (noisy - signal * clean) / spread
        return process.target(clean, noise, t)

    return call


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_the_numbers_have_no_scale_and_are_those_of_every_prediction(
    kind: Any, scale: float, bundled: Any, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simplest guess itself has 1 and a fit of 1, on latents of independent elements of any size."""
    process = FlowProcess() if kind == "flow" else VPProcess(bundled.process.alphas_cumprod, kind)

    def latents(rows: Any) -> tuple[Tensor, dict[str, Tensor]]:
        drawn = [torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(row)) for row in rows]
        return scale * (0.5 + torch.stack(drawn)), {}

    monkeypatch.setattr(encoded, "images", latents)
    monkeypatch.setattr(bundled, "process", process)
    monkeypatch.setattr(bundled, "predict", gaussian(process, 0.5 * scale, scale**2), raising=False)
    for level in base_levels(bundled, encoded, CPU):
        assert level.relative == pytest.approx(1, abs=0.03)
        assert level.time == pytest.approx(float(time_of(process, level.sigma)))
        # at much noise little of the image is in the guess, and 8,192 elements tell it to 0.1
        assert level.fit == pytest.approx(1, abs=0.06 if level.sigma < 0.9 or scale > 1 else 0.3)


def test_numbers_that_are_not_finite_are_left_out(
    bundled: Any, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "predict", lambda x, t, c: torch.full_like(x, float("nan")), raising=False)
    record = record_of(bundled, encoded, CPU, 8, "all times")
    assert record is not None and record["note"] is None
    assert all(level["relative"] is None and level["fit"] is None for level in record["levels"])
    assert json.loads(json.dumps(record, allow_nan=False)) == record and len(SIGMAS) == 3


def test_flow_models_are_asked_too(make_diffusion: Make, make_likes: Make, images: list[Any], tmp_path: Path) -> None:
    model = make_diffusion("sd3")
    likes = make_likes([image.resize((16, 16)) for image in images], [True] * 8, PROMPTS)
    levels = base_levels(model, Encoded(likes, model, Cache(tmp_path)).fill(), CPU)
    assert [level.time for level in levels] == pytest.approx([100, 500, 900, 900])
    assert sentence_of(levels, 8) is not None  # its weights are random
