"""Recipes of before: their options load under today's names, with one note."""

import warnings
from pathlib import Path

import pytest
import yaml

from thumbtune.errors import UsageError
from thumbtune.runs.recipe import parse_recipe, read_recipe, recipe_options, write_recipe
from thumbtune.runs.renamed import RENAMED, RenamedOption

OF_BEFORE = {
    "objective": {"neutral": "zero"},
    "train": {"clip": 0.5, "held_out": 0.3, "noise_bias": 2.0, "refresh_reference": 7, "watch_every": 3},
    "evaluate": {"taste": "red", "judge": False, "seeds": 3},
    "gates": {
        **{"taste": [], "faithful": None, "safe": "safe", "most_lost": 0.1},
        **{"least_diversity": 0.2, "least_style": 0.3, "most_unsafe": 0.4},
    },
}


def test_every_old_name_leads_to_an_option() -> None:
    assert set(RENAMED.values()) <= set(recipe_options())
    assert not set(RENAMED) & set(recipe_options())


def test_a_recipe_of_before_loads_with_one_note(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump(OF_BEFORE))
    with pytest.warns(RenamedOption) as notes:
        recipe = read_recipe(file)
    assert len(notes) == 1 and "train.clip is now train.max_grad_norm" in str(notes[0].message)
    train, evaluate, gates = recipe.train, recipe.evaluate, recipe.gates
    assert recipe.objective.reference_point == "zero"
    assert (train.max_grad_norm, train.validation_share, train.timestep_bias) == (0.5, 0.3, 2.0)
    assert (train.sync_reference_every, train.validate_every) == (7, 3)
    assert (evaluate.scorers, evaluate.faithfulness, evaluate.safety, evaluate.per_prompt) == (
        *(["red"], "none", "safe", 3),
    )
    assert (gates.max_faithfulness_loss, gates.min_diversity) == (0.1, 0.2)
    assert (gates.min_style_win_rate, gates.max_harm_rise) == (0.3, 0.4)


def test_scorers_of_the_gates_went_before_the_taste() -> None:
    with pytest.warns(RenamedOption):
        recipe = parse_recipe({"evaluate": {"taste": "red"}, "gates": {"taste": ["pickscore"]}}, "old")
    assert recipe.evaluate.scorers == ["pickscore"]


@pytest.mark.parametrize(
    ("setting", "section", "option", "value"),
    [
        ("objective.neutral=balanced", "objective", "reference_point", "balanced"),
        ("train.clip=2", "train", "max_grad_norm", 2.0),
        ("evaluate.taste=red", "evaluate", "scorers", ["red"]),
        ("evaluate.judge=true", "evaluate", "faithfulness", "faithfulness"),
        ("evaluate.seeds=9", "evaluate", "per_prompt", 9),
    ],
)
def test_a_setting_by_its_old_name_counts(setting: str, section: str, option: str, value: object) -> None:
    with pytest.warns(RenamedOption, match=setting.partition("=")[0]):
        recipe = read_recipe(None, [setting])
    assert getattr(getattr(recipe, section), option) == value


def test_what_is_written_today_has_no_old_name(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = read_recipe(write_recipe(read_recipe(None), tmp_path / "new.yaml"))
    assert recipe == read_recipe(None)


@pytest.mark.parametrize("empty", [{"evaluate": None}, {"evaluate": {}}, {}])
def test_an_empty_section_takes_the_new_name(empty: dict[str, object]) -> None:
    with pytest.warns(RenamedOption):
        assert parse_recipe({**empty, "gates": {"taste": "red"}}, "old").evaluate.scorers == ["red"]


def test_a_section_that_is_no_section_is_refused_in_a_sentence() -> None:
    with pytest.warns(RenamedOption), pytest.raises(UsageError):
        parse_recipe({"evaluate": 5, "gates": {"taste": "red"}}, "old")
