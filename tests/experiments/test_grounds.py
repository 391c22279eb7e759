"""Grounds: persons, labels, shares of the headroom, pages made of rows alone, and each command at tiny size."""

import csv
import json
import math
import shutil
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.experiments import (
    beyond_on_ground,
    demo,
    few_on_ground,
    fig8_on_ground,
    ground_labels,
    ground_pages,
    noise_on_ground,
    search_on_ground,
    training_grid,
)
from thumbtune.experiments.experiments import ON_GROUNDS, Order, perform
from thumbtune.experiments.ground_cells import MARKS, ground_cell, mark_cells, means_of
from thumbtune.experiments.ground_labels import rate_pool
from thumbtune.experiments.ground_tables import (
    SHARE,
    claim_better,
    claims_of_separation,
    gains_over,
    pairs_table,
    rows_by,
    separation_of,
    win_rates,
    with_shares,
)
from thumbtune.experiments.grounds import FLAT, GROUNDS, LINE_ART, NATURE, SOFT_3D, get_ground
from thumbtune.experiments.methods import LEAD, METHODS, PAPER, measure_of, method_cells
from thumbtune.experiments.simulated_labels import PoolImage, Rating
from thumbtune.experiments.training_grid import Grid, GridCell, run_grid, settings_of
from thumbtune.runs.recipe import parse_recipe, with_settings
from thumbtune.training.progress import quiet

ORDER = Order(folder=Path("out"), seeds=2, ground="soft-3d")
LAB = Grid(ORDER, quiet, lambda line: None)


# --- persons and labels


def test_each_concept_has_a_wanted_style_that_a_judge_knows() -> None:
    concepts = [concept for group in demo.concepts().values() for concept in group]
    assert set(concepts) >= NATURE and sum(concept in NATURE for concept in demo.concepts()["unrated"]) == 12
    for ground in GROUNDS.values():
        assert {ground.wanted(concept) for concept in concepts} == set(ground.styles)
    conditional = GROUNDS["conditional"]
    assert [conditional.wanted(one) for one in ("fox", "key")] == [SOFT_3D, FLAT]
    assert conditional.scorers == ("style-soft-3d", "style-flat")
    assert GROUNDS["line-art-wrong"].wanted("fox") == LINE_ART
    with refused("ground-unknown", UsageError, naming=["'moon'", *GROUNDS]):
        get_ground("moon")


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PoolImage]:
    """Six images of two prompts; the small network gives image k log-odds of k - 2.5."""
    made = []
    for number in range(6):
        file = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(file)
        made.append(PoolImage(file, demo.prompt_of(("fox", "key")[number // 3]), number))
    monkeypatch.setattr(
        ground_labels, "log_odds", lambda ground, images, prompts, network: [k - 2.5 for k in range(len(images))]
    )
    return made


def liked(pool: list[PoolImage], ground: str, rating: Rating, seed: int = 0) -> list[bool]:
    return [label for _, _, _, label, _ in rate_pool(pool, GROUNDS[ground], rating, seed)]


def test_a_person_without_noise_likes_what_is_likelier_than_not_and_some_labels_are_flipped(
    pool: list[PoolImage],
) -> None:
    assert liked(pool, "line-art-wrong", Rating()) == [False] * 3 + [True] * 3
    wrong = liked(pool, "line-art-wrong", Rating(flipped=1 / 3))
    assert sum(a != b for a, b in zip(wrong, [False] * 3 + [True] * 3, strict=True)) == 2
    assert liked(pool, "line-art-wrong", Rating(rule="win")) == [False, False, True] * 2
    assert liked(pool, "line-art-wrong", Rating(rule="win + intermediate")) == [False, True, True] * 2


def test_a_noisy_person_errs_and_answers_alike_again(pool: list[PoolImage]) -> None:
    each = [tuple(liked(pool, "soft-3d", Rating(), seed)) for seed in range(200)]
    assert each == [tuple(liked(pool, "soft-3d", Rating(), seed)) for seed in range(200)] and len(set(each)) > 20
    rates = [sum(labels[k] for labels in each) / 200 for k in range(6)]
    assert rates[0] == pytest.approx(0.223, abs=0.12) and rates[5] == pytest.approx(0.777, abs=0.12)
    assert liked(pool, "soft-3d", Rating(count=4), 5) == liked(pool, "soft-3d", Rating(), 5)[:4]
    with refused("rating-unknown-rule", UsageError, naming="whim"):
        liked(pool, "soft-3d", Rating(rule="whim"))


# --- cells


def test_cells_come_seed_by_seed_with_both_marks_first() -> None:
    cells = method_cells(ORDER, range(40, 42), METHODS)
    names = [*MARKS, *METHODS]
    assert [(cell.seed, cell.name) for cell in cells] == [(seed, name) for seed in (40, 41) for name in names]
    assert GROUNDS["line-art-wrong"].flipped == ground_cell("line-art-wrong", "a", 1).rating.flipped == 0.2


def test_all_methods_have_one_budget_and_one_ground() -> None:
    for cell in method_cells(ORDER, range(40, 41), METHODS):
        recipe = LAB.recipe_of(cell)
        assert (recipe.train.steps, recipe.train.batch, recipe.train.lr) == (120, 16, 1e-3), cell.name
        assert (recipe.train.warmup, recipe.train.cooldown, recipe.lora.rank) == (10, 20, 16)
        assert (recipe.train.prompt_dropout, recipe.train.validation_share) == (0.1, 0)
        assert recipe.evaluate.scorers == ["style-soft-3d"]
        stored = settings_of(LAB, cell)
        assert stored["ground"] == GROUNDS["soft-3d"].facts() and str(Path.cwd()) not in json.dumps(stored)
    paper, lead = (LAB.recipe_of(ground_cell("soft-3d", n, 40, METHODS[n].settings)) for n in (PAPER, LEAD))
    assert (paper.objective.beta, paper.train.liked_share, paper.train.timestep_bias) == (5000, 0.8, 1)
    assert (lead.objective.beta, lead.train.liked_share, lead.train.timestep_bias) == (250, 0.5, 3)


def test_cells_without_a_ground_are_stored_as_before() -> None:
    assert "ground" not in settings_of(LAB, GridCell(name="a", seed=0))


def test_every_form_of_the_search_is_a_recipe_and_the_paper_s_and_the_lead_are_among_them() -> None:
    forms = [parse_recipe(with_settings({}, list(m.settings)), name) for name, m in search_on_ground.SETTINGS.items()]
    assert len(forms) == 5 * 4 * 3 + 6 + 2 + 15
    for name in (PAPER, LEAD):
        assert parse_recipe(with_settings({}, list(METHODS[name].settings)), name) in forms
    assert search_on_ground.seeds(ORDER) == range(10, 12)
    assert search_on_ground.seeds(Order(folder=Path(), ground="soft-3d", first_seed=3)) == range(3, 5)


def test_cells_of_each_experiment_have_names_of_their_own() -> None:
    for cells in (few_on_ground.cells(ORDER), noise_on_ground.cells(ORDER)):
        assert len({(cell.name, cell.seed) for cell in cells}) == len(cells)
    varied = fig8_on_ground.ablations(ORDER, 40)
    made = {cell.name: cell for one in varied for cell in one.cells.values()}
    assert len(made) == 11 and all("base-recipe" in [c.name for c in one.cells.values()] for one in varied)
    assert {cell.per_prompt for cell in few_on_ground.cells(ORDER) if cell.columns.get("thumbs")} == {16}
    assert {cell.rating.flipped for cell in noise_on_ground.cells(ORDER)} == {0, 0.1, 0.2, 0.3, 0.4}


# --- rows and pages


def row_of(log_odds: float, faithfulness: float = 0.99, spread: float = 0.1) -> dict[str, Any]:
    judge = [round(log_odds + spread * (place - 2), 4) for place in range(5)]
    scores = {"judge": judge, "rater": [value + 0.5 for value in judge], "faithfulness": [faithfulness] * 5}
    return {"status": "trained", "train_seconds": 40.0} | means_of(scores)


LEVELS = {"base": -3.0, "asked": 2.0, PAPER: -1.75, LEAD: 0.75}


def invented(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Return a row with the level of its method, and a little of the seed."""
    level = LEVELS.get(cell.columns.get("method", ""), -2.0)
    return row_of(level + (0.02 * cell.seed - 0.8 if cell.name not in MARKS else 0))


def test_a_row_has_the_means_of_its_images() -> None:
    row = means_of({"judge": [1.0, -2.0, 4.0], "rater": [2.0, 0.0, 4.0], "faithfulness": [0.9, 1.0, 0.8]})
    assert (row["log_odds"], row["gap"], row["named"]) == pytest.approx((1.0, 1.0, 2 / 3))
    assert row["faithfulness"] == pytest.approx(0.9)


def test_shares_are_0_for_the_base_1_for_the_asked_and_between_for_a_method(tmp_path: Path) -> None:
    cells = method_cells(Order(folder=tmp_path, ground="soft-3d", only=(PAPER, LEAD)), range(40, 43), METHODS)
    lab = Grid(Order(folder=tmp_path, ground="soft-3d"), quiet, lambda line: None)
    rows = with_shares(run_grid(lab, cells, invented))
    shares = {(row["method"], row["seed"]): row[SHARE] for row in rows}
    assert [shares["base", 41], shares["asked", 41]] == pytest.approx([0, 1])
    assert [shares[PAPER, seed] for seed in (40, 41, 42)] == pytest.approx([0.25, 0.254, 0.258])
    named = rows_by(rows, lambda row: row["method"])
    assert list(named) == [PAPER, LEAD] and len(named[LEAD]) == 3
    assert win_rates(named[LEAD], named[PAPER]) == [1.0] * 3
    found = claim_better(named, LEAD, PAPER)
    assert found.verdict == "holds" and "log-odds +2.50 (+2.50 to +2.50)" in found.evidence
    assert claim_better(named, PAPER, LEAD).verdict == "does not hold"
    separated = separation_of(named)
    assert separated is not None and separated.f > 1e6
    assert [row[SHARE] for row in with_shares([row for row in rows if row["method"] != "asked"]) if SHARE in row] == [
        row[SHARE] for row in rows if row["method"] != "asked"
    ], "a row keeps its share"


def test_a_gain_at_the_cost_of_the_prompt_is_not_better(tmp_path: Path) -> None:
    def costly(lab: Grid, cell: GridCell) -> dict[str, Any]:
        return row_of(LEVELS[cell.name], 0.95 + 0.001 * (cell.seed - 40) if cell.name == LEAD else 0.99)

    order = Order(folder=tmp_path, ground="soft-3d", only=(PAPER, LEAD))
    rows = with_shares(
        run_grid(Grid(order, quiet, lambda _: None), method_cells(order, range(40, 43), METHODS), costly)
    )
    found = claim_better(rows_by(rows, lambda row: row["method"]), LEAD, PAPER)
    assert found.verdict == "does not hold" and "faithfulness -0.0390" in found.evidence


def rows_with(log_odds: Sequence[float], faithfulness: float = 0.99) -> list[dict[str, Any]]:
    """Return a row for each seed, 40, 41 and so on; NaN: the training diverged."""
    broken = {"status": "diverged: a loss is not a number", "likes": 9, "dislikes": 9}
    return [
        {"seed": 40 + place} | (broken if value != value else row_of(value, faithfulness) | {SHARE: (value + 3) / 5})  # noqa: PLR0124
        for place, value in enumerate(log_odds)
    ]


def test_a_method_that_diverged_in_every_seed_loses_and_one_that_diverged_in_some_says_so() -> None:
    named = {"well": rows_with([1.0, 1.1, 1.2]), "broken": rows_with([nan] * 3), "some": rows_with([nan, 0.0, 0.1])}
    verdicts = {(a, b): claim_better(named, a, b) for a in named for b in named if a != b}
    assert (verdicts["well", "broken"].verdict, verdicts["broken", "well"].verdict) == ("holds", "does not hold")
    assert verdicts["well", "broken"].evidence == "the second diverged in every seed."
    assert verdicts["well", "some"].verdict == "holds"
    assert verdicts["well", "some"].evidence.endswith("of the paired images, on the remaining 2 of 3 seeds.")
    best = fig8_on_ground.claim_best({f"beta: {name}": rows for name, rows in named.items()}, "beta", "well", "best")
    assert best.verdict == "holds" and "Against broken: the second diverged in every seed." in best.evidence
    assert claim_better({"a": named["broken"], "b": named["broken"]}, "a", "b").verdict == "cannot be told"
    table = pairs_table(named, "method")
    assert {(row["method"], row["against"]): row["verdict"] for row in table} == {
        ("well", "broken"): "better",
        ("well", "some"): "better",
        ("broken", "some"): "worse",
    }


def test_a_gain_at_a_cost_is_neither_better_nor_worse_in_the_table_of_pairs() -> None:
    named = {"costly": rows_with([1.0, 1.1, 1.2], 0.9), "mild": rows_with([0.0, 0.1, 0.2])}
    assert pairs_table(named, "method")[0]["verdict"] == "gains, at a cost"
    assert pairs_table(dict(reversed(named.items())), "method")[0]["verdict"] == "loses, and is more faithful"


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        # means of settings 1, 3.5, 1.5 and of seeds 1, 3: F(2, 2) = 7 and p = 0.12
        ([[0.0, 2.0], [2.0, 5.0], [1.0, 2.0]], "cannot be told"),
        ([[0.0, 0.1, 0.2, 0.1], [2.0, 2.3, 2.1, 2.2], [1.0, 1.2, 1.1, 1.0]], "holds"),
        # p is above 0.05, so a small F says no more than a large one
        ([[0.0, 2.0, 0.5], [1.0, 0.0, 1.5], [0.5, 1.0, 0.0]], "cannot be told"),
        # many seeds show a spread that chance does not give, and that is small all the same
        ([[(7 * seed + 3 * m) % 10 + m for seed in range(40)] for m in range(3)], "does not hold"),
    ],
)
def test_a_ground_separates_by_an_f_that_chance_does_not_give(shares: list[list[float]], verdict: str) -> None:
    named = {str(number): rows_with(each) for number, each in enumerate(shares)}
    (claim,) = claims_of_separation(named, "methods")
    assert claim.verdict == verdict, claim.evidence


def test_two_settings_are_no_ground_since_their_f_is_the_test_of_their_pair() -> None:
    named = {"a": rows_with([0.0, 0.1, 0.2]), "b": rows_with([2.0, 2.3, 2.1])}
    found, gained = separation_of(named), gains_over(named["b"], named["a"])
    assert found is not None and claims_of_separation(named, "methods") == []
    assert math.isclose(found.f, float(np.mean(gained) ** 2 / (np.var(gained, ddof=1) / 3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beyond", "search", "few", "noise", "fig8", "draws"])
def test_the_rows_alone_make_the_page_also_in_another_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only row.json and experiment.json are copied, and nothing may be trained."""
    monkeypatch.setattr(ground_pages, "run_grid", lambda lab, cells, measure: run_grid(lab, cells, invented))
    only = {"search": ("kto-auto-bias-1-share-0.8", "sft-bias-3", "csft-bias-3")}.get(name, ())
    lines: list[str] = []
    first = perform(name, Order(folder=tmp_path / "a", ground="soft-3d", seeds=2, only=only), quiet, lines.append)
    assert any(line.startswith("Between settings: F(") for line in lines)
    for file in [*(tmp_path / "a").glob("runs/*/row.json"), tmp_path / "a" / "experiment.json"]:
        copy = tmp_path / "b" / file.relative_to(tmp_path / "a")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)

    def never(lab: Grid, cell: GridCell) -> dict[str, Any]:
        raise AssertionError("a cell is missing")

    monkeypatch.setattr(ground_pages, "run_grid", lambda lab, cells, measure: run_grid(lab, cells, never))
    second = perform(name, Order(folder=tmp_path / "b", ground="soft-3d", seeds=2, only=only), quiet, lines.append)
    page = first.read_text()
    assert second.read_text() == page
    assert "soft 3d, noisy" in page and "faithfulness is not lower by more than 0.01" in page and "Seeds: " in page
    assert page.index("is better than another one if") < page.index("## Claims")
    assert "| nan" not in page and "None" not in page
    table = (tmp_path / "b" / "table.csv").read_text().splitlines()
    assert {"base", "asked"} <= {row["cell"] for row in csv.DictReader(table)}


def test_the_cost_of_a_method_is_relative_to_the_paper_s_of_its_seed() -> None:
    rows = [{"method": m, "seed": s, "train_seconds": t} for m, s, t in ((PAPER, 1, 40), ("sft", 1, 30), ("sft", 2, 9))]
    assert [row.get("cost") for row in beyond_on_ground.with_cost(rows)] == [1.0, 0.75, None]


def test_a_method_may_be_a_function_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = METHODS | {"mine": METHODS["sft"].__class__(about="mine", measure=lambda lab, cell: {"seed": cell.seed})}
    assert measure_of(methods)(LAB, ground_cell("soft-3d", "mine", 41)) == {"seed": 41}


# --- options


@pytest.mark.parametrize(
    ("name", "options", "code", "naming"),
    [
        ("fig6", {"ground": "soft-3d"}, "paper-no-ground", ", ".join(ON_GROUNDS)),
        ("beyond", {"ground": "moon"}, "ground-unknown", "'moon'"),
        ("beyond", {"ground": "soft-3d", "only": ("nobody",)}, "paper-no-method", "'nobody'"),
        ("fig8", {"only": ("paper",)}, "paper-no-methods", "--only"),
        ("few", {"only": ("paper",)}, "paper-no-methods", "--only"),
        ("beyond", {"first_seed": 3}, "paper-first-seed", "--ground"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    name: str, options: dict[str, Any], code: str, naming: str, tmp_path: Path
) -> None:
    with refused(code, UsageError, naming=naming):
        perform(name, Order(folder=tmp_path / "out", **options), quiet, lambda line: None)


def test_a_folder_belongs_to_one_ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_pages, "run_grid", lambda lab, cells, measure: run_grid(lab, cells, invented))
    order = Order(folder=tmp_path / "out", ground="soft-3d", seeds=1, only=(PAPER,))
    perform("beyond", order, quiet, lambda line: None)
    for ground in ("conditional", ""):
        with refused("paper-folder-of-another", UsageError, naming="beyond --ground soft-3d"):
            perform("beyond", Order(folder=tmp_path / "out", ground=ground), quiet, lambda line: None)


# --- end to end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ground", "only"),
    [
        ("beyond", "conditional", (PAPER, "csft")),
        ("search", "soft-3d", ("kto-250-bias-3-share-0.5",)),
        ("few", "line-art-wrong", (LEAD,)),
        ("noise", "soft-3d", (LEAD,)),
        ("fig8", "soft-3d", ()),
        ("draws", "soft-3d", ()),
    ],
)
def test_each_command_runs_on_a_ground_and_a_second_call_makes_nothing_again(
    name: str, ground: str, only: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order(folder=tmp_path / "out", quick=True, ground=ground, only=only)
    lines: list[str] = []
    page = perform(name, order, quiet, lines.append).read_text()
    assert not [line for line in lines if "cannot be trained" in line or "diverged" in line]
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert {row["status"] for row in rows} == {"trained"} and {row[SHARE] for row in rows[:2]} == {"0.0", "1.0"}

    def trained(*_: Any) -> None:
        raise AssertionError("a cell is made again")

    monkeypatch.setattr(training_grid, "trained", trained)
    assert perform(name, order, quiet, lines.append).read_text() == page


def test_marks_have_no_settings_of_their_own() -> None:
    assert [(cell.name, cell.settings) for cell in mark_cells("soft-3d", 40)] == [("base", ()), ("asked", ())]


@pytest.mark.parametrize(
    ("name", "ground", "says", "silent"),
    [
        ("noise", "line-art-wrong", "the share of labels that a row names", "20% of the labels"),
        ("fig8", "line-art-wrong", "20% of the labels", "liked if its log-odds"),
        ("beyond", "soft-3d", "unless a method says otherwise", "turned into"),
        ("rounds", "soft-3d", "for pairs, the first of two images is preferred", "turned into"),
    ],
)
def test_the_page_tells_how_its_rows_are_labelled(
    name: str, ground: str, says: str, silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground_pages, "run_grid", lambda lab, cells, measure: run_grid(lab, cells, invented))
    page = perform(name, Order(folder=tmp_path / "a", ground=ground, seeds=1), quiet, lambda line: None).read_text()
    about = page.partition("## Claims")[0]
    assert says in about and silent not in about
