"""A run that trains two networks: broken off and continued, generated from, and judged as its last checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from thumbtune.duels.sides import side
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet

SMALL = ("train.steps=4", "train.batch=4", "train.micro_batch=2", "train.checkpoint_every=1", "train.validate_every=0")
FILES = ("pytorch_lora_weights", "pytorch_lora_weights_2", "comfyui_high_noise", "comfyui_low_noise")


def settings(likes: Path, tiny_pipeline: Any) -> list[str]:
    model = [f"likes={likes}", f"model={tiny_pipeline('wan-experts')}", "train.size=16"]
    model += ["evaluate.size=16", "lora.rank=2", "lora.alpha=3"]
    return [*model, "train.ema=0.5", "train.sync_reference_every=2", "train.lr=0.01", *SMALL]


@pytest.mark.slow
def test_resume_is_bit_for_bit_and_the_result_is_the_last_checkpoint(
    six_of_each: Path, tiny_pipeline: Any, tmp_path: Path
) -> None:
    recipe = read_recipe(None, settings(six_of_each, tiny_pipeline))
    whole = [step.as_dict() for step in tune(recipe, tmp_path / "whole", quiet)]
    begun = tune(recipe, tmp_path / "broken", quiet)
    assert [next(begun).step for _ in range(2)] == [1, 2]
    del begun  # which ends it there
    rest = [step.as_dict() for step in tune(recipe, tmp_path / "broken", quiet, resume=True)]
    plain = [[{**row, "seconds": 0} for row in rows] for rows in (whole[2:], rest)]
    assert plain[0] == plain[1]
    for name in FILES:
        one, other = (tmp_path / run / "lora" / f"{name}.safetensors" for run in ("whole", "broken"))
        assert one.read_bytes() == other.read_bytes()
    listed = (tmp_path / "whole" / "SHA256SUMS").read_text()
    assert all(f"lora/{name}.safetensors" in listed for name in FILES)

    run = tmp_path / "whole"
    weights = []
    for name in (run, run / "checkpoints" / "step-000004"):
        load = side(str(name)).load
        assert load is not None
        weights.append(dict(load("cpu").trainable()))
    assert any(name.startswith("transformer_2.") for name in weights[0])
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-6, atol=0)
        assert "lora_A" in name or value.abs().max() > 0, name  # both networks were trained

    before = side(str(run)).fingerprint
    (run / "SHA256SUMS").unlink()
    second = run / "lora" / "pytorch_lora_weights_2.safetensors"
    save_file({name: 2 * value for name, value in load_file(second).items()}, second)
    assert side(str(run)).fingerprint != before  # a duel of the other weights is another duel


@pytest.mark.slow
def test_the_memory_of_both_networks_is_counted(six_of_each: Path, tiny_pipeline: Any) -> None:
    two = read_recipe(None, settings(six_of_each, tiny_pipeline))
    one = read_recipe(None, [*settings(six_of_each, tiny_pipeline), f"model={tiny_pipeline('wan')}"])
    both, alone = (estimate(recipe, accelerator=True) for recipe in (two, one))
    assert both is not None and alone is not None
    assert both.networks["transformer"] == both.networks["transformer_2"] == alone.networks["transformer"]
    assert both.optimiser == 2 * alone.optimiser and both.resting == alone.resting
    assert both.step - alone.step >= both.networks["transformer"]


@pytest.mark.slow
def test_merge_takes_both(call: Any, six_of_each: Path, tiny_pipeline: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    list(tune(read_recipe(None, settings(six_of_each, tiny_pipeline)), run, quiet))
    code, _, err = call("merge", run, tmp_path / "merged")
    assert code == 0, err
    index = json.loads((tmp_path / "merged" / "model_index.json").read_text())
    assert index["boundary_ratio"] == 0.875 and index["transformer_2"] == ["diffusers", "WanTransformer3DModel"]
    merged, tuned = (side(str(name)).load for name in (tmp_path / "merged", run))
    assert merged is not None and tuned is not None
    one, other = merged("cpu"), tuned("cpu")
    noisy, t = torch.ones(2, 4, 8, 8), torch.tensor([900.0, 100.0])
    with torch.no_grad():
        answers = [model.predict(noisy, t, model.embed(["a cat", "x"])) for model in (one, other)]
        with other.reference():
            before = other.predict(noisy, t, other.embed(["a cat", "x"]))
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-5)
    assert ((answers[1] - before).abs().flatten(1).amax(1) > 1e-3).all()
