"""A run's columns: what each generates, what is refused, and that an image is made once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from thumbtune.duels import compared
from thumbtune.duels.columns import at_strength, checkpoints_of, chosen_checkpoints, columns_of
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, rounds, run
from thumbtune.runs.recipe import write_recipe
from thumbtune.training.progress import quiet

Call = Callable[..., tuple[int, str, str]]
SAMPLER = Sampler(steps=2, guidance=2.0)
PAIRS = [("a cat", 3), ("red dog", 4)]


@pytest.fixture
def trained(trained_at: Callable[[Path], Path], tmp_path: Path) -> Path:
    return trained_at(tmp_path / "run")


def pixels(file: Path) -> np.ndarray[Any, Any]:
    with Image.open(file) as image:
        return np.array(image.convert("RGB")).astype(int)


def drawn(model: Any) -> list[np.ndarray[Any, Any]]:
    return [np.array(model.generate([prompt], [seed], SAMPLER)[0]).astype(int) for prompt, seed in PAIRS]


def grid_of(folder: Path, **given: Any) -> dict[str, list[np.ndarray[Any, Any]]]:
    """The images of each column, after they were made."""
    plan = compared.Plan(run=folder, columns=columns_of(folder, **given), pairs=PAIRS, sampler=SAMPLER)
    files = list(compared.compare(plan, quiet))
    grid = compared.read_grid(folder)
    assert grid is not None and [row["seed"] for row in grid["rows"]] == [3, 4]
    names = {column["name"]: [row[place] for row in grid["files"]] for place, column in enumerate(grid["columns"])}
    assert {file.name for file in files} == {name for some in names.values() for name in some}
    return {name: [pixels(folder / "compared" / file) for file in some] for name, some in names.items()}


def test_columns_are_the_base_the_kept_checkpoints_and_the_result(trained: Path) -> None:
    kept = checkpoints_of(trained)
    assert kept[-1] == 6 and 0 not in kept
    names = [column.name for column in columns_of(trained)]
    assert names == ["base", *(f"step {step}" for step in kept if step != 6), "result"]
    assert [column.name for column in columns_of(trained, [])] == ["base", "result"]
    assert [column.name for column in columns_of(trained, chosen_checkpoints([0]))] == ["base", "result"]
    assert [column.name for column in columns_of(trained, [6])] == ["base", "step 6", "result"]
    with refused("compare-no-checkpoint", naming="step 5"):
        columns_of(trained, [5])
    (trained / "lora" / "pytorch_lora_weights.safetensors").unlink()
    assert columns_of(trained)[-1].name == "step 6"
    with refused("compare-one-lora"):
        columns_of(trained, strengths=[1.0])


@pytest.mark.slow
def test_each_column_generates_with_its_weights(trained: Path) -> None:
    images = grid_of(trained, checkpoints=[6])
    recipe = run.recipe_in(trained)
    for name, model in (
        ("base", build.model_of(recipe)),
        ("step 6", rounds.model_so_far(trained)),
        ("result", run.trained_model(recipe, trained)),
    ):
        for one, other in zip(images[name], drawn(model), strict=True):
            assert np.array_equal(one, other), name
    assert not np.array_equal(images["base"][0], images["result"][0])


@pytest.mark.slow
def test_a_strength_of_none_is_the_base_and_of_one_the_result(trained: Path) -> None:
    whole = grid_of(trained, checkpoints=[])
    parts = grid_of(trained, strengths=[0, 0.5, 1, 8])
    assert list(parts) == ["strength 0", "strength 0.5", "strength 1", "strength 8"]
    for place in range(len(PAIRS)):
        assert np.array_equal(parts["strength 0"][place], whole["base"][place])
        assert np.array_equal(parts["strength 1"][place], whole["result"][place])
        far, near = (np.abs(parts[name][place] - whole["base"][place]).sum() for name in ("strength 8", "strength 0.5"))
        assert far > near


def test_a_strength_multiplies_b_and_gives_it_back(trained: Path) -> None:
    model = run.trained_model(run.recipe_in(trained), trained)
    before = {name: weight.detach().clone() for name, weight in model.trainable()}
    with at_strength(model, 0.5):
        for name, weight in model.trainable():
            assert (weight == before[name] * (0.5 if ".lora_B." in name else 1)).all(), name
    assert all((weight == before[name]).all() for name, weight in model.trainable())
    assert any(before[name].abs().max() > 0 for name in before if ".lora_B." in name)


@pytest.mark.slow
def test_an_image_is_made_once(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = grid_of(trained, strengths=[0, 1])
    monkeypatch.setattr(compared, "loaded", lambda *_: pytest.fail("a model was loaded"))
    again = grid_of(trained, strengths=[1])
    assert all(np.array_equal(*both) for both in zip(first["strength 1"], again["strength 1"], strict=True))


def test_what_has_no_strength_is_refused(trained: Path) -> None:
    with refused("compare-bad-strength", naming="nan"):
        columns_of(trained, strengths=[float("nan")])
    recipe = run.recipe_in(trained)
    dora = recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"dora": True})})
    (trained / "SHA256SUMS").unlink(missing_ok=True)
    write_recipe(dora, trained / "recipe.yaml")
    with refused("compare-no-strength", naming="a DoRA"):
        columns_of(trained, strengths=[1.0])


@pytest.mark.slow
def test_the_command_makes_a_grid(trained: Path, call: Call) -> None:
    code, out, err = call("compare", trained, "a cat", "--strength", 0, "--strength", 1, "--steps", 2, "--seeds", 2)
    assert code == 0, err
    assert len([line for line in out.splitlines() if line.endswith(".png")]) == 4
    assert "Columns: strength 0, strength 1." in out
    grid = json.loads((trained / "compared" / "grid.json").read_text())
    assert grid["rows"] == [{"prompt": "a cat", "seed": 0}, {"prompt": "a cat", "seed": 1}]
    code, _, err = call("compare", trained, " ", "--steps", 2)
    assert code == 2 and "There is no prompt" in err


def test_prompts_that_were_held_out_come_first(trained: Path) -> None:
    prompts = compared.default_prompts(trained)
    assert 0 < len(prompts) <= compared.MAX_DEFAULT_PROMPTS and len(set(prompts)) == len(prompts)
