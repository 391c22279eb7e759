"""Conditions of a model in bf16 are numbers of bf16: as its pipeline hands them on, and in half the bytes on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_transformers import BUILDERS
from torch import Tensor

from thumbtune.models.families import adapter_of
from thumbtune.models.half import computing, states_of
from thumbtune.models.loading import load_pipeline
from thumbtune.training.cache import Cache

NORM_FIRST = ("qwen-image", "krea2", "z-image", "lumina2")  # the others' first layer is linear, and autocast rounds
QUICK = ("flux", "krea2")
PROMPT = "a red cat in the snow"


def predicted(model: Any, condition: dict[str, Tensor]) -> Tensor:
    noisy = torch.randn(
        1, *model.encode([Image.new("RGB", (32, 32))]).shape[1:], generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad(), computing(model.device, model.half):
        return model.predict(noisy, torch.tensor([500.0]), condition)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BUILDERS]
)
def test_a_prompt_takes_two_bytes_a_number_and_the_prediction_stays(
    name: str, tiny_pipeline: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = adapter_of(load_pipeline(str(tiny_pipeline(name))), half=torch.bfloat16)
    model.size = 32
    kept = model.embed([PROMPT])
    for text in kept.values():
        assert text.dtype == torch.float32
        assert torch.equal(text, text.bfloat16().float())
    cache = Cache(tmp_path)
    cache.put("prompt", kept)
    size = 2 * sum(text.numel() for text in kept.values())
    (pack,) = tmp_path.glob("*.pack")
    assert size < pack.stat().st_size < size + 1000
    assert all(torch.equal(cache.get("prompt")[key], text) for key, text in kept.items())

    monkeypatch.setattr(f"{type(model).__module__}.states_of", lambda text, half: states_of(text, None))
    before = model.embed([PROMPT])
    assert any(not torch.equal(before[key], text) for key, text in kept.items()) or name == "flux2"
    old, new = predicted(model, before), predicted(model, kept)
    if name in NORM_FIRST:
        assert (new - old).norm() < 0.01 * old.norm()
    else:
        assert torch.equal(new, old)


@pytest.mark.parametrize("half", [None, torch.float16])
def test_float32_and_fp16_round_nothing(half: torch.dtype | None) -> None:
    text = torch.tensor([[1e5, 0.1]])  # beyond the range of fp16, as some states of text encoders are
    assert torch.equal(states_of(text, half), text)
