"""A grid of trainings: each is made once, a stopped one goes on, a changed one is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import refused

from thumbtune.errors import Interrupted, UsageError
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import ROW, Grid, GridCell, _versions, run_grid
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe
from thumbtune.training.progress import quiet

CELLS = [GridCell(name="base", seed=s, columns={"beta": b}) for s, b in ((0, 250), (1, 250), (2, 250))]
ROW_OF_ALL = {"status": "trained", "taste_before": 0.1, "taste_after": 0.4, "gain": 0.3} | {
    f"faithfulness_{side}": 0.9 for side in ("before", "after")
}

Measure = Callable[[Grid, GridCell], dict[str, Any]]


def counting(made: list[int]) -> Measure:
    def measure(grid: Grid, cell: GridCell) -> dict[str, Any]:
        made.append(cell.seed)
        return dict(ROW_OF_ALL)

    return measure


def make_grid(folder: Path, lines: list[str] | None = None) -> Grid:
    return Grid(Order(folder=folder), quiet, (lines if lines is not None else []).append)


def test_rows_carry_the_settings_and_each_cell_has_a_line(tmp_path: Path) -> None:
    lines: list[str] = []
    rows = run_grid(make_grid(tmp_path, lines), CELLS, counting([]))
    assert rows[1] == {"cell": "base", "seed": 1, "taste": "line-art", "beta": 250, **ROW_OF_ALL}
    assert len(lines) == 3
    assert lines[1].startswith("[2/3] base, seed 1: line-art 0.100 → 0.400, faithfulness 0.900 → 0.900, ")


def test_finished_cells_are_not_made_again(tmp_path: Path) -> None:
    made: list[int] = []
    first = run_grid(make_grid(tmp_path), CELLS[:2], counting(made))
    again = run_grid(make_grid(tmp_path), CELLS, counting(made))
    assert made == [0, 1, 2]
    assert again[:2] == first


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    made: list[int] = []

    def stopped(grid: Grid, cell: GridCell) -> dict[str, Any]:
        if cell.seed == 1:
            raise KeyboardInterrupt
        return counting(made)(grid, cell)

    with refused("grid-stopped", Interrupted, naming=["cell 2 of 3", "base of seed 1"]):
        run_grid(make_grid(tmp_path), CELLS, stopped)
    run_grid(make_grid(tmp_path), CELLS, counting(made))
    assert made == [0, 1, 2]


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": ("train.steps=7",)},
        {"rating": Rating(flipped=0.1)},
        {"columns": {"beta": 1}},
        {"settings": ("evaluate.per_prompt=1",)},
    ],
)
def test_a_cell_that_was_made_otherwise_is_refused_before_any_work(tmp_path: Path, changed: dict[str, Any]) -> None:
    run_grid(make_grid(tmp_path), CELLS[1:2], counting([]))
    other = GridCell(**{"name": "base", "seed": 1, "columns": {"beta": 250}} | changed)
    made: list[int] = []
    file = make_grid(tmp_path).run_of(other) / ROW
    with refused("grid-row-differs", UsageError, naming=[file, file.parent, "--out"]):
        run_grid(make_grid(tmp_path), [CELLS[0], other], counting(made))
    assert made == []


def test_a_row_of_before_an_option_was_added_stands_and_one_with_another_value_does_not(tmp_path: Path) -> None:
    rows = run_grid(make_grid(tmp_path), CELLS[1:2], counting([]))
    file = make_grid(tmp_path).run_of(CELLS[1]) / "row.json"
    kept = json.loads(file.read_text())
    del kept["cell"]["recipe"]["objective"]["anchor"]
    kept["cell"]["recipe"]["objective"]["disliked_floor"] = 0.0  # an option of then, at the value that changed nothing
    kept["cell"]["recipe"]["gates"]["least_diversity"] = 0.125  # of a verdict, which no row holds
    file.write_text(json.dumps(kept))
    made: list[int] = []
    assert run_grid(make_grid(tmp_path), CELLS[1:2], counting(made)) == rows and made == []
    for value in (1.0, "much"):
        kept["cell"]["recipe"]["objective"]["disliked_floor"] = value
        file.write_text(json.dumps(kept))
        with refused("grid-row-differs", UsageError, naming=file):
            run_grid(make_grid(tmp_path), CELLS[1:2], counting(made))


def test_results_may_move_to_another_folder(tmp_path: Path) -> None:
    rows = run_grid(make_grid(tmp_path / "here"), CELLS, counting([]))
    (tmp_path / "here").rename(tmp_path / "there")
    made: list[int] = []
    assert run_grid(make_grid(tmp_path / "there"), CELLS, counting(made)) == rows
    assert made == []


def test_settings_that_no_recipe_knows_stop_all_before_any_work(tmp_path: Path) -> None:
    made: list[int] = []
    with pytest.raises(UsageError, match=r"train\.speed"):
        run_grid(
            make_grid(tmp_path), [*CELLS, GridCell(name="odd", seed=0, settings=("train.speed=9",))], counting(made)
        )
    assert made == []


def test_a_damaged_row_is_a_sentence(tmp_path: Path) -> None:
    run_grid(make_grid(tmp_path), CELLS[:1], counting([]))
    (make_grid(tmp_path).run_of(CELLS[0]) / ROW).write_text("{")
    with refused("grid-row-damaged", UsageError, naming=make_grid(tmp_path).run_of(CELLS[0]) / ROW):
        run_grid(make_grid(tmp_path), CELLS[:1], counting([]))


def test_a_row_remembers_what_decided_it(tmp_path: Path) -> None:
    run_grid(make_grid(tmp_path), CELLS[:1], counting([]))
    kept = json.loads((make_grid(tmp_path).run_of(CELLS[0]) / ROW).read_text())
    assert kept["cell"]["recipe"]["objective"]["beta"] == "auto"
    assert kept["cell"]["thumbs"] == {"rule": "person", "count": None, "flipped": 0.0}


def test_no_guard_ends_a_cell_before_the_others(tmp_path: Path) -> None:
    assert Recipe().train.guards
    train = make_grid(tmp_path).recipe_of(GridCell(name="a", seed=0, settings=("train.steps=7",))).train
    assert (train.steps, train.guards, train.validate_every) == (7, False, 0)
    assert (train.lr, train.cooldown) == (1e-4, 0), "as the kept rows were made, whatever the defaults are now"


def test_cells_of_one_seed_share_labels_and_evaluation_seeds_and_those_of_two_share_neither(tmp_path: Path) -> None:
    here = make_grid(tmp_path)
    a, b, c = GridCell(name="a", seed=0), GridCell(name="b", seed=0), GridCell(name="a", seed=1)
    assert here.likes_of(a) == here.likes_of(b) != here.likes_of(c)
    assert here.run_of(a) != here.run_of(b)
    first = [here.recipe_of(cell).evaluate.first_seed for cell in (a, b, c)]
    assert first[0] == first[1]
    assert first[2] >= first[0] + len(here.prompts()) * here.recipe_of(a).evaluate.per_prompt
    noisy = [here.likes_of(GridCell(name="a", seed=0, rating=Rating(flipped=share))) for share in (0.1, 0.2)]
    assert len({*noisy, here.likes_of(a)}) == 3


def test_rows_of_another_version_or_model_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_grid(make_grid(tmp_path), CELLS, counting([]))
    bundled = tmp_path / "bundled"
    shutil.copytree(build.BUNDLED, bundled)
    monkeypatch.setattr(build, "BUNDLED", bundled)
    _versions.cache_clear()
    run_grid(make_grid(tmp_path), CELLS, counting([]))  # elsewhere, and the same
    for part in ("tiny-emoji-64/text_encoder/model.safetensors", "judge/concepts.json", "style/large/config.json"):
        before = (bundled / part).read_bytes()
        (bundled / part).write_bytes(before + b" ")
        _versions.cache_clear()
        with refused("grid-row-differs", UsageError, naming=ROW):
            run_grid(make_grid(tmp_path), CELLS, counting([]))
        (bundled / part).write_bytes(before)
    _versions.cache_clear()
    run_grid(make_grid(tmp_path), CELLS, counting([]))
