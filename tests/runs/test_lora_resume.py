"""A training of each kind of LoRA that is broken off ends with the bytes of one that is not."""

from pathlib import Path
from typing import Any

import pytest

from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet

SMALL = ("train.steps=4", "train.batch=4", "train.micro_batch=2", "train.checkpoint_every=1", "train.validate_every=0")
KINDS = {
    "DoRA": ("lora.dora=true",),
    "DoRA with EMA and synced reference": ("lora.dora=true", "train.ema=0.5", "train.sync_reference_every=2"),
    "convolutions of their own rank": ("lora.targets=with-convolutions", "lora.conv_rank=2", "lora.conv_alpha=1"),
    "feed-forward": ("lora.targets=attention-and-feed-forward", "lora.alpha=3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["DoRA with EMA and synced reference", "convolutions of their own rank"])
def test_resume_is_bit_for_bit(six_of_each: Path, tiny_pipeline: Any, tmp_path: Path, kind: str) -> None:
    settings = [f"likes={six_of_each}", f"model={tiny_pipeline('epsilon')}", "lora.rank=4", *SMALL, *KINDS[kind]]
    recipe = read_recipe(None, settings)
    whole = [step.as_dict() for step in tune(recipe, tmp_path / "whole", quiet)]
    begun = tune(recipe, tmp_path / "broken", quiet)
    assert [next(begun).step for _ in range(2)] == [1, 2]
    del begun  # which ends it there
    rest = [step.as_dict() for step in tune(recipe, tmp_path / "broken", quiet, resume=True)]
    plain = [[{**row, "seconds": 0} for row in rows] for rows in (whole[2:], rest)]
    assert plain[0] == plain[1]
    for name in ("pytorch_lora_weights.safetensors", "kohya.safetensors"):
        one, other = (tmp_path / run / "lora" / name for run in ("whole", "broken"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["DoRA", "feed-forward"])
def test_a_run_is_evaluated_as_its_last_checkpoint(
    six_of_each: Path, tiny_pipeline: Any, tmp_path: Path, kind: str
) -> None:
    """The files, which hold B times the scale, give the network that was trained."""
    import torch

    from thumbtune.duels.sides import side

    settings = [f"likes={six_of_each}", f"model={tiny_pipeline('epsilon')}", "lora.rank=4", *SMALL, *KINDS[kind]]
    run = tmp_path / "run"
    list(tune(read_recipe(None, [*settings, "train.lr=0.01"]), run, quiet))
    weights = []
    for name in (run, run / "checkpoints" / "step-000004"):
        load = side(str(name)).load
        assert load is not None
        weights.append(dict(load("cpu").trainable()))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-6, atol=0)
