"""A run whose store has changed goes on with its own labels, bit for bit as if the store were as before."""

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from refusals import refused
from safetensors.torch import load_file

import thumbtune
from thumbtune.feedback.store.store import Store
from thumbtune.runs.recipe import Recipe, parse_recipe


def vote(likes: Path, first: int, stop: int, flip: bool = False) -> None:
    """Vote on two images of each number; `flip` votes the opposite."""
    with Store.open(likes) as store:
        for number in range(first, stop):
            for place, kind in enumerate(("like", "dislike")):
                pixels = np.random.default_rng([number, place]).integers(0, 255, (16, 16, 3), dtype=np.uint8)
                file = likes.parent / "image.png"
                Image.fromarray(pixels).save(file)
                image = store.add_image(file.read_bytes(), f"thing {number}")
                store.vote(image, "dislike" if (kind == "like") == flip else "like", rater="ann")


@pytest.fixture
def recipe(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Recipe:
    vote(tmp_path / "likes", 0, 6)
    train = {"steps": 4, "batch": 4, "micro_batch": 4, "warmup": 1, "cooldown": 0, "lr": 1e-2, "guards": False}
    train |= {"validation_share": 0.3, "checkpoint_every": 100}
    data: dict[str, Any] = {"model": str(tiny_pipeline("epsilon")), "likes": str(tmp_path / "likes"), "train": train}
    return parse_recipe(data | {"lora": {"rank": 2}}, "The recipe")


def finish(recipe: Recipe, folder: Path) -> dict[str, Any]:
    for _ in thumbtune.train(recipe, folder, resume=True):
        pass
    return load_file(folder / "lora" / "pytorch_lora_weights.safetensors")


def test_a_run_goes_on_with_its_own_labels(recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, same = tmp_path / "run", tmp_path / "same"
    assert len(list(islice(thumbtune.train(recipe, run), 2))) == 2
    shutil.copytree(run, same)
    expected = finish(recipe, same)
    vote(tmp_path / "likes", 6, 9)
    vote(tmp_path / "likes", 0, 1, flip=True)
    weights = finish(recipe, run)
    said = caplog.text
    assert "(8 labels are new and 2 labels have changed or gone); this run goes on with the labels" in said
    assert weights.keys() == expected.keys()
    assert all((weights[name] == expected[name]).all() for name in weights)
    assert (run / "likes.parquet").read_bytes() == (same / "likes.parquet").read_bytes()
    caplog.clear()
    finish(recipe, run)
    err = caplog.text
    assert "2 labels have changed or gone); this run does not contain them." in err and "nothing to do" in err


@pytest.mark.slow
def test_what_a_run_cannot_go_on_without(recipe: Recipe, tmp_path: Path) -> None:
    list(islice(thumbtune.train(recipe, tmp_path / "run"), 1))
    other = tmp_path / "other"
    vote(other, 1, 8)
    moved = recipe.model_copy(update={"likes": str(other)})
    with refused("run-image-gone", naming=("'thing 0'", other)):
        finish(moved, tmp_path / "run")
    with Store.open(recipe.likes) as store:
        for image in range(1, 5):
            store.vote(image, "like" if image % 2 else "dislike", rater="bob")
        store.erase("ann")
    with refused("run-rater-erased"):
        finish(recipe, tmp_path / "run")


@pytest.mark.slow
def test_a_run_of_a_version_without_weights_had_equal_ones(recipe: Recipe, tmp_path: Path) -> None:
    run, same = tmp_path / "run", tmp_path / "same"
    list(islice(thumbtune.train(recipe, run), 1))
    shutil.copytree(run, same)
    file = run / "likes.parquet"
    parquet.write_table(parquet.read_table(file).drop_columns(["weight", "grade"]), file)
    (run / "SHA256SUMS").unlink()
    vote(tmp_path / "likes", 6, 7)
    expected, weights = finish(recipe, same), finish(recipe, run)
    assert all((weights[name] == expected[name]).all() for name in weights)
