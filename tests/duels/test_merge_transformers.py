"""Transformers merged with a LoRA: a folder that the family's own pipeline loads, and that draws what both draw."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from refusals import refused
from safetensors.torch import load_file
from tiny_transformers import BUILDERS
from torch import Tensor

import thumbtune
from thumbtune.duels import merge as merging
from thumbtune.duels.merge import merge
from thumbtune.errors import UsageError
from thumbtune.models.drawing import draw
from thumbtune.models.families import adapter_of
from thumbtune.models.protocol import Sampler

Pipeline = Callable[[str], Path]


def drawn(model: Any, size: int) -> Tensor:
    """The pixels of two images, about -1..1, and not yet rounded to 256 levels."""
    sampler = Sampler(steps=2, guidance=3.0, size=(size, size))
    with torch.no_grad():
        pixels: Tensor = model.pixels(draw(model, ["a cat", "red dog"], [7, 8], sampler))
    return pixels


@pytest.fixture
def tuned(tiny_pipeline: Pipeline, make_diffusion: Any, perturb: Any, tmp_path: Path) -> Callable[..., Any]:
    """(family) -> the base, a folder with the LoRA's files, and the model with it."""

    def make(name: str) -> tuple[str, Path, Any]:
        model = make_diffusion(name, rank=4, alpha=1.5)
        perturb(model)
        model.save(tmp_path / "lora")
        return str(tiny_pipeline(name)), tmp_path / "lora", model

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BUILDERS))
def test_a_merged_folder_draws_what_its_base_draws_with_the_lora(name: str, tuned: Any, tmp_path: Path) -> None:
    base, lora, model = tuned(name)
    plain = thumbtune.load(base)
    wanted = drawn(model, model.size)
    assert (drawn(plain, model.size) - wanted).abs().max() > 1e-3
    merge(str(lora), tmp_path / "merged", base)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "merged")
    assert type(pipeline) is type(plain.pipeline)
    pipeline.set_progress_bar_config(disable=True)
    torch.testing.assert_close(drawn(adapter_of(pipeline), model.size), wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(drawn(thumbtune.load(tmp_path / "merged"), model.size), wanted, rtol=0, atol=1e-4)

    # the weights are the sum, and all else is the base's
    weights = "diffusion_pytorch_model.safetensors"
    before, after = (load_file(Path(folder, "transformer", weights)) for folder in (base, tmp_path / "merged"))
    trained = dict(model.trainable())
    assert before.keys() == after.keys()
    for key, value in before.items():
        layer, expected = key.removesuffix(".weight"), value
        if f"{layer}.lora_A.default.weight" in trained:
            down, up = (trained[f"{layer}.lora_{end}.default.weight"].detach().double() for end in "AB")
            expected = (value.double() + 1.5 / 4 * up @ down).float()
        torch.testing.assert_close(after[key], expected, rtol=0, atol=1e-6)
    index, own = (json.loads(Path(folder, "model_index.json").read_text()) for folder in (base, tmp_path / "merged"))
    assert index == own
    text = "".join(file.read_text() for file in (tmp_path / "merged").rglob("config.json"))
    assert str(Path(base).parent) not in text
    assert (tmp_path / "merged" / "vae" / weights).read_bytes() == Path(base, "vae", weights).read_bytes()


@pytest.mark.parametrize("name", list(BUILDERS))
def test_one_file_is_refused_before_anything_is_loaded(
    name: str, tiny_pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "merge_pipeline", lambda _: pytest.fail("it was loaded"))
    base = str(tiny_pipeline(name))
    with refused(
        "merge-other-family", UsageError, naming=[tmp_path / "m.safetensors", tmp_path / "m", "Stable Diffusion 1.x"]
    ):
        merge(base, tmp_path / "m.safetensors")
    assert not list(tmp_path.glob("m*"))


def test_half_the_space(tuned: Any, tmp_path: Path) -> None:
    base, lora, model = tuned("flux")
    merge(str(lora), tmp_path / "merged", base, fp16=True)
    stored = load_file(tmp_path / "merged" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    close = drawn(thumbtune.load(tmp_path / "merged"), model.size) - drawn(model, model.size)
    assert close.abs().max() < 0.02


def test_a_lora_of_another_family_leaves_nothing(tuned: Any, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    _, lora, _ = tuned("flux")
    with refused("lora-other-family", naming="FLUX.1"):
        merge(str(lora), tmp_path / "merged", str(tiny_pipeline("z-image")))
    assert not (tmp_path / "merged").exists()
