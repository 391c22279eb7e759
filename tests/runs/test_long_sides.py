"""Sides beyond the table of positions of a transformer are refused, and up to it they work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.models.pipeline_files import longest_of
from thumbtune.models.protocol import Sampler
from thumbtune.runs.image_sizes import placements_of
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.sampler_defaults import sampler_for

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


@pytest.mark.slow
def test_the_models_own_size_is_one_too(tiny_pipeline: Callable[[str], Path]) -> None:
    with refused("size-too-long", UsageError, naming=["evaluate.size is 480x480", "128 or less"]):
        estimate(read_recipe(None, [f"model={tiny_pipeline('wan')}", "train.size=16"]))


@pytest.mark.parametrize("name", TABLES)
def test_a_longer_side_is_refused_where_images_are_drawn(
    name: str, make_diffusion: Callable[..., Any], tiny_pipeline: Callable[[str], Path]
) -> None:
    model, folder = make_diffusion(name), tiny_pipeline(name)
    longest, unit = model.longest, model.unit
    assert longest_of(str(folder)) == longest
    assert sampler_for([folder], size=f"{longest}x{unit}").size == (unit, longest)
    with refused("size-too-long", UsageError, naming=["--size", longest + unit, f"{longest} or less"]):
        sampler_for([folder], size=f"{longest + unit}x{unit}")
    with refused("size-too-long", UsageError, naming=[longest + unit, f"{longest} or less"]):
        model.generate(["a cat"], [0], Sampler(steps=1, guidance=1.0, size=(unit, longest + unit)))


def test_a_network_without_a_table_has_no_longest_side(tiny_pipeline: Callable[[str], Path]) -> None:
    assert longest_of(str(tiny_pipeline("epsilon"))) is None and longest_of(str(tiny_pipeline("flux"))) is None


def test_the_bucket_of_a_long_image_is_a_size_too(
    make_diffusion: Callable[..., Any], tiny_pipeline: Callable[[str], Path]
) -> None:
    model, settings = make_diffusion("sd3"), [f"model={tiny_pipeline('sd3')}"]
    longest = model.longest
    square, long = (longest, longest), (longest // 2, 2 * longest)
    recipe = read_recipe(None, [*settings, f"train.size={longest}"])
    assert placements_of(recipe, model, [square])[0].bucket == square
    with refused("size-too-long", UsageError, naming=[f"{longest // 2} or less", "train.buckets"]):
        placements_of(recipe, model, [square, long])
    half = placements_of(read_recipe(None, [*settings, f"train.size={longest // 2}"]), model, [square, long])
    assert max(half[1].bucket) == longest
    whole = placements_of(read_recipe(None, [*settings, f"train.size={longest}", "train.buckets=false"]), model, [long])
    assert whole[0].bucket == square
