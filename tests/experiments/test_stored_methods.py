"""What rows and runs tell of a method and of a ground: constants of a measure, wanted styles, and how labels came."""

import json
from pathlib import Path

import pytest

from thumbtune.experiments import demo
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_cells import MARKS, ground_cell, mark_cells
from thumbtune.experiments.grounds import FLAT, SOFT_3D
from thumbtune.experiments.methods import LEAD, METHODS, PAPER, method_cells
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import Grid, settings_of
from thumbtune.training.progress import quiet

ORDER = Order(folder=Path("out"), seeds=2, ground="soft-3d")
LAB = Grid(ORDER, quiet, lambda line: None)


def test_no_two_methods_are_stored_alike_but_for_their_name() -> None:
    stored = [settings_of(LAB, cell) for cell in method_cells(ORDER, range(40, 41), METHODS) if cell.name not in MARKS]
    kept = [json.dumps({**one, "name": "", "columns": {}}, sort_keys=True) for one in stored]
    assert len(set(kept)) == len(METHODS)
    facts = {one["name"]: one.get("facts", {}) for one in stored}
    assert not facts[PAPER] and "facts" not in settings_of(LAB, mark_cells("soft-3d", 40)[0])
    assert facts["kto-three-rounds"] == {"rounds": 3, "pairs": False}
    assert facts["dpo-pairs"] == {"rounds": 1, "pairs": True}
    assert facts["kto-graded"] == {"star_cuts": [-1.5, -0.5, 0.5, 1.5], "like_at": 4}
    assert [facts[name]["enough"] for name in ("alignprop", "alignprop-stopped")] == [None, 5]
    assert [facts[name]["look_every"] for name in ("alignprop", "alignprop-stopped")] == [20, 10]


def test_a_ground_stores_what_is_wanted_of_each_concept_and_where_log_odds_are_cut_off() -> None:
    found = settings_of(LAB, ground_cell("conditional", PAPER, 40))["ground"]
    assert "fox" in found["wanted"][SOFT_3D] and "key" in found["wanted"][FLAT]
    assert sum(map(len, found["wanted"].values())) == sum(map(len, demo.concepts().values()))
    assert (found["rater_clip"], found["judge_clip"]) == (5, 6)


@pytest.mark.parametrize(
    ("ground", "rating", "says", "silent"),
    [
        ("soft-3d", Rating(), ["soft 3d", "liked with the chance sigmoid(log-odds / 2)"], ["turned", "stars"]),
        ("line-art-wrong", Rating(), ["line art", "liked if its log-odds are above 0"], ["turned", "sigmoid"]),
        ("line-art-wrong", Rating(flipped=0.4), ["40% of the labels are turned"], ["20%"]),
        ("soft-3d", Rating(rule="five stars"), ["five stars", "-1.5, -0.5, 0.5, 1.5"], ["sigmoid"]),
        ("soft-3d", Rating(rule="top tenth"), ["tenth of the images", "without noise"], ["sigmoid"]),
        ("soft-3d", Rating(rule="win"), ["never lost", "sigmoid(difference / 2)"], ["log-odds / 2", "won"]),
        ("line-art-wrong", Rating(rule="win + intermediate"), ["won at least once"], ["sigmoid", "never"]),
    ],
)
def test_the_person_of_a_cell_is_that_of_its_rule_and_its_share_of_wrong_labels(
    ground: str, rating: Rating, says: list[str], silent: list[str]
) -> None:
    found = ground_cell(ground, "any", 40, rating=rating).person
    assert all(part in found for part in says) and not any(part in found for part in silent), found


def test_every_method_tells_how_it_labels() -> None:
    people = {cell.name: cell.person for cell in method_cells(ORDER, range(40, 41), METHODS)}
    assert "compared with one other of its prompt" in people["dpo-pairs"]
    assert people["kto-three-rounds"] == people[LEAD] != people["kto-top-tenth"]
