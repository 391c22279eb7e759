"""`train.blocks_to_swap`: its values, what it refuses, and what it saves by the estimate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import refused
from safetensors.torch import load_file

from thumbtune.errors import UsageError
from thumbtune.models.block_offload import bytes_offloaded
from thumbtune.runs import build
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import Recipe, parse_recipe, read_recipe
from thumbtune.runs.run import refuse_differences

ON = ["train.gradient_checkpointing=true", "train.blocks_to_swap=all"]
Tiny = Callable[[str], Path]


@pytest.mark.parametrize(("given", "value"), [("0", 0), ("7", 7), ("all", "all"), (3, 3), (2.0, 2)])
def test_it_is_a_number_of_blocks_or_all(given: object, value: object) -> None:
    recipe = parse_recipe({"train": {"blocks_to_swap": given, "gradient_checkpointing": True}}, "The recipe")
    assert recipe.train.blocks_to_swap == value
    assert Recipe().train.blocks_to_swap == 0


@pytest.mark.parametrize("given", [-1, "-1", 1.5, "half", True, None, "ALL", [2]])
def test_any_other_value_is_refused(given: object) -> None:
    with refused("recipe-value", UsageError, naming=["blocks_to_swap", "or all"]):
        parse_recipe({"train": {"blocks_to_swap": given, "gradient_checkpointing": True}}, "The recipe")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["train.blocks_to_swap=3"], "train.gradient_checkpointing to true"),
        (["train.blocks_to_swap=all", "train.gradient_checkpointing=false", "model=owner/sd"], "checkpointing"),
        ([*ON, "train.weights=full"], "train.weights full"),
    ],
)
def test_what_it_cannot_save_is_refused(options: list[str], named: str) -> None:
    with refused("option-unused", UsageError, naming=["train.blocks_to_swap", named]):
        read_recipe(None, options)


@pytest.mark.parametrize("name", ["blocks_to_swap", "train.block_swap", "layer_offload_fraction", "group-offload"])
def test_the_names_of_other_trainers_lead_to_it(name: str) -> None:
    with refused("recipe-unknown-option", UsageError, naming="train.blocks_to_swap"):
        parse_recipe({name: 3}, "The recipe")


def test_a_run_may_go_on_with_other_blocks(tmp_path: Path) -> None:
    old = read_recipe(None, ["model=owner/FLUX.1-dev", "likes=x"])
    refuse_differences(
        old, read_recipe(None, ["model=owner/FLUX.1-dev", "likes=x", "train.blocks_to_swap=all"]), tmp_path
    )


@pytest.mark.parametrize("training", [True, False])
def test_training_and_drawing_of_a_run_offload(tiny_pipeline: Tiny, training: bool) -> None:
    chosen = [f"model={tiny_pipeline('ltx')}", "train.precision=no"]
    whole, one, none = (
        bytes_offloaded(build.model_of(read_recipe(None, [*chosen, *options]), training=training).network)
        for options in (ON, [ON[0], "train.blocks_to_swap=1"], [])
    )
    assert none == 0 < one == whole / 2
    with refused("offload-too-many", UsageError, naming="2 blocks"):
        build.model_of(read_recipe(None, [*chosen, ON[0], "train.blocks_to_swap=3"]))


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], pytest.param(["train.quantize_base=int8"], marks=pytest.mark.slow)])
def test_the_estimate_of_a_gpu_has_a_block_or_less_in_place_of_all(tiny_pipeline: Tiny, more: list[str]) -> None:
    recipe = read_recipe(None, [f"model={tiny_pipeline('ltx')}", "train.precision=no", *more])
    offloaded = read_recipe(None, [f"model={tiny_pipeline('ltx')}", "train.precision=no", *ON, *more])
    plain, less = (estimate(one, 1, at_once=1, accelerator=True) for one in (recipe, offloaded))
    assert plain is not None and less is not None
    away = less.resting - plain.resting
    assert away == bytes_offloaded(build.model_of(offloaded).network) > plain.networks["transformer"] / 4
    assert less.networks == plain.networks and less.encode == plain.encode
    assert 0.4 * away < plain.step - less.step < away  # one of two blocks, whose other half is there while it computes
    assert plain.generate - less.generate > away / 2  # a drawn base is not quantised, and its blocks travel too
    here = estimate(offloaded, 1, at_once=1, accelerator=False)  # a CPU copies nothing
    assert here is not None and here == estimate(recipe, 1, at_once=1, accelerator=False)


@pytest.mark.slow
def test_a_run_ends_with_the_same_lora(settings: list[str], tiny_pipeline: Tiny, tmp_path: Path, call: Any) -> None:
    files = []
    for name, options in (("plain", ON[:1]), ("offloaded", ON)):
        chosen = [f"model={tiny_pipeline('epsilon')}", "train.precision=no", *options]
        words = [*settings, *(word for option in chosen for word in ("--set", option))]
        code, _, err = call("train", "--out", tmp_path / name, *words)
        assert code == 0, err
        files.append(load_file(tmp_path / name / "lora" / "pytorch_lora_weights.safetensors"))
        assert len((tmp_path / name / "steps.jsonl").read_text().splitlines()) == 6
    assert files[0].keys() == files[1].keys()
    assert all(files[0][key].equal(files[1][key]) for key in files[0])
