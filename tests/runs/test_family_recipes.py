"""The shipped recipe of each family: read, of its family, with counted memory, and run two steps at tiny size."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from benchmarks.families import FILE
from thumbtune.errors import UsageError
from thumbtune.models.families import FAMILIES, family_of, family_of_name
from thumbtune.runs.checks import settings_notes
from thumbtune.runs.recipe import SHIPPED_RECIPES, Recipe, chosen_for_model, read_recipe, write_recipe

Call = Callable[..., tuple[int, str, str]]
# recipe, the tiny model of its family, the published model of its first comment
RECIPES = {
    "sd3": ("sd3", "SD 3.5 medium"),
    "flux": ("flux", "FLUX.1-dev"),
    "klein": ("klein", "Klein 4B"),
    "flux2": ("flux2", "FLUX.2-dev"),
    "krea2": ("krea2", "Krea 2"),
    "z-image": ("z-image", "Z-Image"),
    "qwen-image": ("qwen-image", "Qwen-Image"),
    "chroma": ("chroma", "Chroma"),
    "sana": ("sana", "Sana 1.6B"),
    "pixart": ("pixart", "PixArt-Sigma"),
    "lumina2": ("lumina2", "Lumina-Image 2.0"),
    "wan": ("wan", "Wan 1.3B"),
    "ltx": ("ltx", "LTX-Video 0.9"),
}


def test_every_family_of_transformers_has_a_recipe(tiny_pipeline: Callable[[str], Path]) -> None:
    indices = [json.loads((tiny_pipeline(tiny) / "model_index.json").read_text()) for tiny, _ in RECIPES.values()]
    told = {family_of(index["_class_name"]).name for index in indices}
    assert told == {family.name for family in FAMILIES if family.denoiser == "transformer"}
    for recipe, index in zip(RECIPES, indices, strict=True):
        assert family_of_name(read_recipe(Path(recipe)).model) == family_of(index["_class_name"])
    assert {file.stem for file in SHIPPED_RECIPES.glob("*.yaml")} - RECIPES.keys() == {"paper", "paper-sd21", "sdxl"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_its_command_and_the_counted_memory(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(Path(name))
    assert read_recipe(write_recipe(recipe, tmp_path / "copy.yaml")) == recipe
    text = (SHIPPED_RECIPES / f"{name}.yaml").read_text()
    model = RECIPES[name][1]
    assert text.startswith(f"# {model}: thumbtune train {name} --out runs/{name}\n")
    comment = " ".join(re.findall(r"^# (.*)$", text, re.MULTILINE))
    row = json.loads(FILE.read_text())[model]
    for told in (
        f"needs {row['step']} GiB of a GPU by count, and {row['int8']} or {row['nf4']} GiB",
        f"encoding prompts needs {row['encode']} GiB and drawing {row['draw']} GiB",
    ):
        assert told in comment
    assert "Unmeasured" in comment


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_defaults_of_its_family_without_the_hub(
    name: str, tiny_pipeline: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    recipe, here = read_recipe(Path(name)), read_recipe(Path(name), [f"model={tiny_pipeline(RECIPES[name][0])}"])
    assert recipe == here.model_copy(update={"model": recipe.model})
    assert chosen_for_model(recipe) == chosen_for_model(here) != {}


@pytest.mark.parametrize("weights", ["lora", "full"])
@pytest.mark.parametrize("name", [*RECIPES, "sdxl", "paper", "paper-sd21"])
def test_what_is_trained_has_its_own_rate_and_steps(name: str, weights: str) -> None:
    recipe = read_recipe(Path(name), [f"train.weights={weights}"])
    alone = Recipe.model_validate({"model": recipe.model, "train": {"weights": weights}})
    assert recipe.train.weights == weights
    if name.startswith("paper") and weights == "lora":  # whose every number is the paper's, for all weights
        (note,) = settings_notes(recipe)
        assert "1e-07" in note and "0.0001" in note
    else:
        assert settings_notes(recipe) == []
    if not name.startswith("paper"):
        assert recipe.train == alone.train
        assert (recipe.train.lr, recipe.train.steps) == {"lora": (1e-4, 500), "full": (1e-7, 10_000)}[weights]
        assert recipe.train.warmup + recipe.train.cooldown < recipe.train.steps


def test_options_of_a_lora_given_beside_all_weights_are_still_refused() -> None:
    with refused("option-unused", UsageError, naming="train.weights full"):
        read_recipe(Path("flux"), ["train.weights=full", "lora.rank=4"])


def test_a_note_names_the_options_of_a_lora_that_all_weights_leave_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("lora:\n  start: old.safetensors\n  rank: 8\n  alpha: 16\n")  # this alpha is the default
    assert read_recipe(mine, ["train.weights=full"]).train.weights == "full"
    (note,) = (record.getMessage() for record in caplog.records if record.name == "thumbtune")
    assert str(mine) in note and "lora.start 'old.safetensors' and lora.rank 8." in note and "alpha" not in note
    caplog.clear()
    mine.write_text("lora:\n  rank: 16\n")
    read_recipe(mine, ["train.weights=full"])
    read_recipe(Path("flux"), ["train.weights=full"])  # a shipped one, whose LoRA nobody chose
    assert not [record for record in caplog.records if record.name == "thumbtune"]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_two_steps_at_tiny_size(
    name: str, call: Call, likes: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    tiny = [f"likes={likes}", f"model={tiny_pipeline(RECIPES[name][0])}", "train.steps=2", "train.batch=2"]
    tiny += ["lora.rank=2", "lora.alpha=2", "train.size=32", "evaluate.size=32", "train.validation_share=0.3"]
    code, _, err = call("train", name, *(word for one in tiny for word in ("--set", one)), "--out", tmp_path / "run")
    assert code == 0, err
    told = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in told if "loss" in row] == [1, 2]
    assert list((tmp_path / "run" / "lora").glob("*.safetensors"))
