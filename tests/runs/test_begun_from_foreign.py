"""Runs of transformers that begin from a LoRA of another program: from likes to a file, resumed, drawn and judged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_loras import FILES, made, written
from refusals import refused
from safetensors.torch import load_file, save_file

import thumbtune
from thumbtune.duels.sides import loaded, side
from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.runs import run
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet

SMALL = ("train.steps=3", "train.batch=4", "train.micro_batch=2", "train.checkpoint_every=1", "train.validate_every=0")
SMALL += ("train.size=16", "evaluate.size=16", "train.lr=0.01", "train.warmup=0", "train.cooldown=0")
RESULT = Path("lora", "pytorch_lora_weights.safetensors")


def drawn(model: Any) -> np.ndarray[Any, Any]:
    images = model.generate(["a cat", "red dog"], [7, 8], Sampler(steps=2, guidance=3.0, size=(16, 16)))
    return np.stack([np.array(image) for image in images]).astype(int)


@pytest.fixture
def foreign(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Callable[[str], tuple[str, Path]]:
    def make(name: str) -> tuple[str, Path]:
        family, names, spelling, with_alpha = FILES[name]
        base = str(tiny_pipeline(family))
        network = load_pipeline(base).transformer
        save_file(written(made(network, names(network), with_alpha), **spelling), tmp_path / "theirs.safetensors")
        return base, tmp_path / "theirs.safetensors"

    return make


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("z-image ComfyUI", "wan kohya")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flux kohya", "pixart OneTrainer", *SLOW])
def test_a_run_goes_on_from_a_file_of_another_program(
    name: str, foreign: Callable[[str], tuple[str, Path]], six_of_each: Path, tmp_path: Path
) -> None:
    base, file = foreign(name)
    recipe = read_recipe(None, [f"likes={six_of_each}", f"model={base}", f"lora.start={file}", *SMALL])
    assert estimate(recipe) is not None
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    steps = [{**step.as_dict(), "seconds": 0} for step in tune(recipe, whole, quiet)]
    assert (steps[0]["liked_log_ratio"] or 0, steps[0]["disliked_log_ratio"] or 0) == (0, 0)
    begun = tune(recipe, broken, quiet)
    assert next(begun).step == 1
    del begun
    assert [{**step.as_dict(), "seconds": 0} for step in tune(recipe, broken, quiet, resume=True)] == steps[1:]
    assert (whole / RESULT).read_bytes() == (broken / RESULT).read_bytes()
    tensors = load_file(whole / RESULT)
    assert all(key.startswith("transformer.") for key in tensors)

    # the run is the base with its own LoRA, and began as the base with theirs
    images = drawn(thumbtune.load(whole))
    with loaded(side(str(whole / "lora" / RESULT.name), base), "cpu") as model:
        assert np.abs(drawn(model) - images).max() <= 1
    with loaded(side(run.baseline(recipe, whole), base), "cpu") as model:
        first = drawn(model)
    assert np.abs(first - drawn(thumbtune.load(base))).max() > 1
    own = side(str(file), base)
    own.check()  # type: ignore[misc]
    with loaded(own, "cpu") as model:
        assert np.array_equal(drawn(model), first)
        with torch.no_grad():
            assert not any(weight.requires_grad for weight in model.network.parameters())


def test_a_file_without_layers_of_the_transformer(
    foreign: Callable[[str], tuple[str, Path]], six_of_each: Path, tmp_path: Path
) -> None:
    base, file = foreign("flux kohya")
    name = "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"
    shape = load_pipeline(base).text_encoder.get_submodule("encoder.layers.0.self_attn.q_proj").weight.shape
    save_file(
        {f"{name}.lora_down.weight": torch.ones(1, shape[1]), f"{name}.lora_up.weight": torch.ones(shape[0], 1)}, file
    )
    recipe = read_recipe(None, [f"likes={six_of_each}", f"model={base}", f"lora.start={file}", *SMALL])
    with refused("lora-start-text-alone", naming=[file, "transformer"]):
        next(tune(recipe, tmp_path / "run", quiet))
