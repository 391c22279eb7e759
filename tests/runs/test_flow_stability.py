"""Runs on flow models, where public runs of DPO explode: guards, the reference point and resume on their errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refused

from thumbtune.runs import run, tuning
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.training import checkpoint, records
from thumbtune.training.progress import quiet
from thumbtune.training.step import Step

Make = Callable[..., Recipe]


@pytest.fixture
def recipe(call: Callable[..., tuple[int, str, str]], tmp_path: Path, tiny_pipeline: Callable[[str], Path]) -> Make:
    """(kind of model, settings) -> a recipe on likes of red images and dislikes of blue ones."""
    for kind in ("like", "dislike"):
        (tmp_path / "thumbs" / kind).mkdir(parents=True)
        for i in range(12):
            colour = (150 + 8 * i, 20, 10 * i) if kind == "like" else (10 * i, 20, 150 + 8 * i)
            Image.new("RGB", (16, 16), colour).save(tmp_path / "thumbs" / kind / f"{i}.png")
            (tmp_path / "thumbs" / kind / f"{i}.txt").write_text(f"thing {chr(97 + i)}")
    assert call("import", tmp_path / "thumbs", "--likes", tmp_path / "likes")[0] == 0

    def make(model: str, *settings: str) -> Recipe:
        usual = ["train.steps=60", "train.batch=8", "train.micro_batch=8", "train.lr=2e-3", "objective.beta=auto"]
        usual += ["train.liked_share=0.5", "train.warmup=5", "train.cooldown=0", "train.validate_every=0"]
        usual += ["train.precision=no", "train.gradient_checkpointing=false", "train.checkpoint_every=10"]
        return read_recipe(
            None, [*usual, f"likes={tmp_path / 'likes'}", f"model={tiny_pipeline(model)}", "train.size=16", *settings]
        )

    return make


def trained(recipe: Recipe, folder: Path, **options: Any) -> list[Step]:
    return list(tuning.tune(recipe, folder, quiet, **options))


@pytest.mark.slow
def test_a_rate_a_hundred_times_too_high_is_stopped_and_leaves_a_sound_checkpoint(recipe: Make, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with refused("training-went-wrong", naming=["Training stopped at step", "lr"]):
        trained(recipe("sd3", "train.lr=1", "train.steps=100", "train.warmup=0"), folder)
    told = records.read_stop(folder)
    assert told is not None and told["best"] <= told["step"] < 100
    assert checkpoint.steps_in(folder) and all(
        weight.isfinite().all() for _, weight in run.trained_model(recipe("sd3", "train.lr=1"), folder).trainable()
    )
    assert json.loads((folder / records.BASE).read_text())["levels"]


@pytest.mark.slow
def test_the_reference_point_is_the_mean_log_ratio_of_velocity_errors_or_zero(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thumbtune.training import trainer

    seen: list[torch.Tensor] = []
    real = trainer._before

    def spy(estimator: Any, log_ratio: torch.Tensor, liked: torch.Tensor) -> float:
        seen.append(log_ratio.clone())
        return real(estimator, log_ratio, liked)

    monkeypatch.setattr(trainer, "_before", spy)
    steps = trained(recipe("sd3", "train.steps=6", "train.warmup=0"), tmp_path / "run")
    assert len(seen) == len(steps) == 6
    for step, ratios in zip(steps, seen, strict=True):
        assert step.reference_point == pytest.approx(max(0.0, float(ratios.double().mean())), rel=1e-5, abs=1e-9)
        mean = (step.reference_error or 0) - (step.policy_error or 0)  # of the same errors
        assert mean == pytest.approx(float(ratios.double().mean()), rel=1e-3, abs=1e-6)
    assert max(step.reference_point or 0 for step in steps) > 0


@pytest.mark.slow
def test_a_run_that_is_resumed_draws_and_weighs_the_same_noise_levels(recipe: Make, tmp_path: Path) -> None:
    settings = ["train.timestep_density=mode", "train.timestep_shift=2"]
    chosen = recipe("sd3", *settings, "train.steps=5", "train.checkpoint_every=2", "train.batch=4")
    whole = trained(chosen, tmp_path / "whole")
    steps = tuning.tune(chosen, tmp_path / "cut", quiet)
    for _ in range(3):
        next(steps)
    steps.close()
    rest = trained(chosen, tmp_path / "cut", resume=True)
    assert [step.loss for step in whole[-len(rest) :]] == [step.loss for step in rest] and len(rest) <= 3
    kept = records.read_base(tmp_path / "cut")
    assert kept == records.read_base(tmp_path / "whole") and kept is not None
    with refused("run-other-recipe", naming=["train.timestep_shift = ", "not 7"]):
        trained(
            chosen.model_copy(update={"train": chosen.train.model_copy(update={"timestep_shift": 7.0})}),
            tmp_path / "whole",
            resume=True,
        )


def test_held_out_errors_are_those_of_the_chosen_levels(recipe: Make, tmp_path: Path) -> None:
    """The levels of a validation go through the same density and weight as training."""
    from thumbtune.runs import build

    chosen = ["train.timestep_density=uniform", "train.timestep_shift=5", "train.timestep_weighting=cosmap"]
    process = build.model_of(recipe("sd3", *chosen), training=False).process
    t = process.times(torch.tensor([0.5]))
    assert float(t) == pytest.approx(1000 * 5 / 6)
    weights = process.weights(t)
    assert weights is not None and float(weights) == pytest.approx(2 / (3.14159265 * (1 - 10 / 6 + 50 / 36)), rel=1e-4)
