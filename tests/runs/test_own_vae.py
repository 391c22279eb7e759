"""A run whose VAE is not the one of its model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build
from thumbtune.runs.recipe import read_recipe

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_a_run_trains_and_draws_both_sides_with_its_vae(
    call: Call, settings: list[str], tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    base = str(tiny_pipeline("epsilon"))
    torch.manual_seed(5)
    vae: AutoencoderKL = AutoencoderKL.from_config(dict(AutoencoderKL.from_pretrained(base, subfolder="vae").config))  # type: ignore[assignment]
    vae.save_pretrained(tmp_path / "mine")
    own = ["--set", f"vae={tmp_path / 'mine'}"]
    assert call("train", "--out", tmp_path / "run", *settings, *own)[0] == 0
    code, _, err = call("evaluate", tmp_path / "run")
    assert code == 0, err
    drawn = {file.name: file for file in (tmp_path / "run" / "evaluation" / "a").glob("*.png")}
    recipe = read_recipe(tmp_path / "run" / "recipe.yaml")
    model = adapter_of(load_pipeline(base, options=build.options_of(recipe)))
    plain = adapter_of(load_pipeline(base))
    prompt = sorted(set(recipe_prompts(tmp_path / "run")))[0]
    sampler = Sampler(steps=recipe.evaluate.steps, guidance=recipe.evaluate.guidance)
    seeds = list(range(recipe.evaluate.first_seed, recipe.evaluate.first_seed + recipe.evaluate.per_prompt))
    first = np.array(Image.open(drawn[sorted(drawn)[0]]))
    one, other = (each.generate([prompt] * len(seeds), seeds, sampler)[0] for each in (model, plain))
    assert np.abs(np.array(one).astype(int) - first).max() <= 1 < np.abs(np.array(other).astype(int) - first).max()
    (tmp_path / "mine").rename(tmp_path / "gone")
    code, _, err = call("evaluate", tmp_path / "run", "--out", tmp_path / "again")
    assert code == 1 and "vae: " in err and str(tmp_path / "mine") in err


def recipe_prompts(run: Path) -> list[str]:
    import pyarrow.parquet as pq

    rows = pq.read_table(run / "likes.parquet").to_pylist()
    trained = {row["prompt"] for row in rows if not row["held_out"]}
    return [row["prompt"] for row in rows if row["held_out"] and row["prompt"] not in trained]
