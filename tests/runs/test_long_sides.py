"""Sides beyond the table of positions of a transformer are refused, and up to it they work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe

TABLES = ("wan", "wan-experts", "z-image", "lumina2", "sd3")


@pytest.mark.parametrize("name", TABLES)
def test_the_longest_side_is_where_the_table_ends(name: str, make_diffusion: Callable[..., Any]) -> None:
    model = make_diffusion(name)
    condition = model.embed(["a cat"])

    def ask(width: int) -> torch.Tensor:
        with torch.no_grad():
            latents = torch.zeros(1, *model.latent_shape((model.unit, width)))
            return model.predict(latents, torch.tensor([900.0]), condition)

    assert ask(model.longest).isfinite().all()
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        ask(model.longest + model.unit)


@pytest.mark.parametrize("name", TABLES)
def test_a_longer_side_is_refused_by_its_option(
    name: str, make_diffusion: Callable[..., Any], tiny_pipeline: Callable[[str], Path]
) -> None:
    model = make_diffusion(name)
    longest, unit = model.longest, model.unit
    for option, other in (("train.size", "evaluate.size"), ("evaluate.size", "train.size")):
        sizes = [f"{option}={longest + unit}", f"{other}={unit}"]
        with refused("size-too-long", UsageError, naming=[option, longest + unit, f"{longest} or less"]):
            estimate(read_recipe(None, [f"model={tiny_pipeline(name)}", *sizes]))


def test_the_models_own_size_is_one_too(tiny_pipeline: Callable[[str], Path]) -> None:
    with refused("size-too-long", UsageError, naming=["evaluate.size is 480x480", "128 or less"]):
        estimate(read_recipe(None, [f"model={tiny_pipeline('wan')}", "train.size=16"]))
