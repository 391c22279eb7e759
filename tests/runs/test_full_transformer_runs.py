"""Training all weights of a transformer, from likes to a network that diffusers, duels and merges take."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import thumbtune
from thumbtune.duels.merge import merge
from thumbtune.duels.sides import loaded, side
from thumbtune.models.protocol import Sampler
from thumbtune.report.page import write_page
from thumbtune.runs import build
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet

Pipeline = Callable[[str], Path]
SMALL = ("train.steps=4", "train.batch=4", "train.micro_batch=2", "train.checkpoint_every=1", "train.validate_every=0")
FULL = (
    *SMALL,
    "train.weights=full",
    "train.size=16",
    "evaluate.size=16",
    "train.lr=1e-3",
    "train.warmup=0",
    "train.cooldown=0",
)
RESULT = Path("transformer", "diffusion_pytorch_model.safetensors")


def drawn(model: Any, size: int = 16) -> np.ndarray[Any, Any]:
    images = model.generate(["a cat", "red dog"], [7, 8], Sampler(steps=2, guidance=3.0, size=(size, size)))
    return np.stack([np.array(image) for image in images]).astype(int)


def rows(steps: Any) -> list[dict[str, Any]]:
    return [{**step.as_dict(), "seconds": 0} for step in steps]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd3", "z-image", "flux"])
def test_a_resumed_run_writes_the_same_network_for_all_that_reads_it(
    name: str, tiny_pipeline: Pipeline, six_of_each: Path, tmp_path: Path
) -> None:
    base = str(tiny_pipeline(name))
    recipe = read_recipe(None, [f"likes={six_of_each}", f"model={base}", *FULL, "train.sync_reference_every=3"])
    assert build.result_of(recipe) == RESULT
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    steps = rows(tune(recipe, whole, quiet))
    begun = tune(recipe, broken, quiet)
    assert [next(begun).step for _ in range(2)] == [1, 2]
    del begun
    assert rows(tune(recipe, broken, quiet, resume=True)) == steps[2:]
    assert (whole / RESULT).read_bytes() == (broken / RESULT).read_bytes()
    assert not (whole / "unet").exists() and not (whole / "lora").exists()

    # diffusers has the network that was trained
    tuned = thumbtune.load(whole)
    kind = type(tuned.pipeline.transformer)
    network = kind.from_pretrained(whole / "transformer")
    before, after = (load_file(folder / RESULT) for folder in (Path(base), whole))
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in network.state_dict().items())
    assert sum(not torch.equal(before[key], after[key]) for key in after) > len(after) / 2
    images = drawn(tuned)
    assert np.abs(images - drawn(thumbtune.load(base))).max() > 0

    # a run, its network alone with its base, its last checkpoint, and its merge draw the same
    (tmp_path / "alone").mkdir()
    (whole / "transformer").rename(tmp_path / "alone" / "transformer")
    alone = side(str(tmp_path / "alone"), base)
    alone.check()  # type: ignore[misc]
    assert alone.kind == "transformer"
    with loaded(alone, "cpu") as model:
        assert np.array_equal(drawn(model), images)
    (tmp_path / "alone" / "transformer").rename(whole / "transformer")
    for other in (whole, max((whole / "checkpoints").iterdir())):
        with loaded(side(str(other)), "cpu") as model:
            assert np.array_equal(drawn(model), images)
    merge(str(whole), tmp_path / "merged")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "merged")
    assert type(pipeline) is type(tuned.pipeline)
    assert np.array_equal(drawn(thumbtune.load(tmp_path / "merged")), images)
    assert json.loads((tmp_path / "merged" / "transformer" / "config.json").read_text()).get("_name_or_path") is None

    page = write_page(whole).read_text()
    assert f"transformer = {kind.__name__}.from_pretrained" in page and "transformer=transformer" in page
    assert "load_lora_weights" not in page and "no result yet" not in page


@pytest.mark.parametrize("part", ["unet", "transformer"])
def test_the_result_of_a_run_is_the_folder_that_is_there_whatever_became_of_its_base(part: str, tmp_path: Path) -> None:
    recipe = read_recipe(None, [f"model={tmp_path / 'gone'}", "train.weights=full"])
    file = tmp_path / part / "diffusion_pytorch_model.safetensors"
    file.parent.mkdir()
    file.touch()
    assert build.result_in(tmp_path, recipe) == file.relative_to(tmp_path)
