"""The experiments on the bundled model: what they decide from given rows, and each of them end to end at tiny size."""

import csv
from pathlib import Path
from typing import Any

import pytest

from thumbtune.experiments import beyond, few, fig7, fig8, noise, search
from thumbtune.experiments.experiments import Order, perform
from thumbtune.experiments.fig8 import BOTH, WIN, WITHOUT
from thumbtune.experiments.grounds import PLAIN
from thumbtune.experiments.methods import AUTO_WINDOW, METHODS
from thumbtune.experiments.training_grid import Grid, GridCell, budget_text, finished_row
from thumbtune.runs.recipe import Recipe, parse_recipe, read_recipe, recipe_options, with_settings
from thumbtune.training.progress import quiet

SEEDS = range(3)
QUICK = {"fig7": 2, "fig8": 5, "noise": 4, "few": 2, "beyond": len(beyond.METHODS), "search": 5}


def row(seed: int, gain: float, **columns: Any) -> dict[str, Any]:
    return {"seed": seed, "status": "trained", "gain": gain + 0.01 * seed, **columns}


# --- figure 8


def ablated(gains: dict[str, dict[str, float]], fell: float = 0.0) -> list[dict[str, Any]]:
    return [
        row(seed, gain, ablation=name, value=value, faithfulness_change=-fell, faithfulness_before=1.0)
        for name, panel in gains.items()
        for value, gain in panel.items()
        for seed in SEEDS
    ]


def test_an_ablation_has_a_best_value_only_if_it_beats_all_others_beyond_chance() -> None:
    rows = ablated({"sampling policy": {WIN: 0.1, BOTH: 0.3, WITHOUT: 0.2}})
    assert fig8.claim_best(rows, "sampling policy", BOTH, "").verdict == "holds"
    assert fig8.claim_best(rows, "sampling policy", WITHOUT, "").verdict == "does not hold"
    rows[0]["gain"] += 1.0  # in one of three seeds the other value is far better: nobody knows
    assert fig8.claim_best(rows, "sampling policy", BOTH, "").verdict == "cannot be told"


def test_a_value_that_wins_by_losing_what_was_asked_for_is_not_the_best() -> None:
    rows = ablated({"utility": {"loss-averse": 0.1, "kahneman-tversky": 0.3}})
    assert fig8.claim_best(rows, "utility", "kahneman-tversky", "").verdict == "holds"
    for one in rows:
        one["faithfulness_change"] = -0.2 - 0.01 * one["seed"] if one["value"] == "kahneman-tversky" else -0.01
    found = fig8.claim_best(rows, "utility", "kahneman-tversky", "")
    assert found.verdict == "does not hold" and "(faithfulness -0.200 (" in found.evidence


def broken(value: str, seeds: Any = SEEDS) -> list[dict[str, Any]]:
    return [{"seed": s, "status": "diverged: no", "ablation": "positive ratio", "value": value} for s in seeds]


def test_a_value_that_broke_off_in_every_seed_is_beaten_by_one_that_did_not() -> None:
    rows = [*broken("0.2"), *ablated({"positive ratio": {"0.5": 0.1, "0.8": 0.3}})]
    found = fig8.claim_best(rows, "positive ratio", "0.8", "")
    assert found.verdict == "holds" and found.evidence.startswith("0.2 diverged in every seed; +0.200 (")
    assert fig8.claim_best(rows, "positive ratio", "0.2", "").verdict == "does not hold"
    assert fig8.claim_best([*rows, *broken("1")], "positive ratio", "1", "").verdict == "does not hold"


def test_a_comparison_on_the_seeds_that_are_left_says_so() -> None:
    left = [
        one for one in ablated({"positive ratio": {"0.2": 0.1, "0.8": 0.3}}) if one["value"] == "0.8" or one["seed"]
    ]
    found = fig8.claim_best([*left, *broken("0.2", [0])], "positive ratio", "0.8", "")
    assert found.verdict == "holds" and "on the remaining 2 of 3 seeds" in found.evidence


@pytest.mark.parametrize(("fell", "verdict"), [(0.5, "holds"), (0.1, "does not hold")])
def test_divergence_is_seen_by_what_faithfulness_lost(fell: float, verdict: str) -> None:
    assert fig8.claim_diverges(ablated({"positive ratio": {"0.2": 0.1}}, fell)).verdict == verdict


def test_a_training_that_broke_off_diverged() -> None:
    rows = broken("0.2")
    assert fig8.claim_diverges(rows).verdict == "holds"
    rows[0] |= {"status": "trained", "faithfulness_change": 0.0, "faithfulness_before": 1.0}
    assert fig8.claim_diverges(rows).verdict == "cannot be told"


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.1, 0.2, 0.25, 0.26), "holds"),
        ((0.1, 0.2, 0.15, 0.26), "does not hold"),  # it falls
        ((0.1, 0.11, 0.2, 0.4), "does not hold"),  # it rises more and more
    ],
)
def test_the_gain_rises_less_and_less_with_beta(gains: tuple[float, ...], verdict: str) -> None:
    panel = dict(zip(map(str, fig8.BETAS), gains, strict=True))
    rows = ablated({"beta": panel})
    assert fig8.claim_rises(rows).verdict == verdict
    rows[4] |= {"gain": None, "status": "diverged: no"}
    assert "on the remaining 2 of 3 seeds" in fig8.claim_rises(rows).evidence


def test_all_ablations_turn_around_one_recipe_and_vary_what_they_say() -> None:
    each = {ablation.title: ablation.cells for ablation in fig8.ablations(quick=False)}
    base = each["beta"]["250"]
    assert all(base in cells.values() for cells in each.values())
    assert base.rating.rule == BOTH
    assert list(each["positive ratio"]) == ["0.2", "0.5", "0.8", "1"]
    assert each["positive ratio"]["0.2"].settings[-1] == "train.liked_share=0.2"
    assert len({cell.name for cells in each.values() for cell in cells.values()}) == 11
    recipe = parse_recipe(with_settings({}, list(base.settings)), "base")
    assert (recipe.objective.beta, recipe.train.liked_share, recipe.objective.utility) == (250, 0.8, "kahneman-tversky")


# --- noise


def noisy(kept: dict[str, tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        row(seed, gain, utility=utility, flipped=share)
        for utility, gains in kept.items()
        for share, gain in zip((0.0, 0.4), gains, strict=True)
        for seed in SEEDS
    ]


def test_a_utility_is_robust_that_loses_less_than_the_other() -> None:
    rows = noisy({noise.KT: (0.4, 0.35), noise.AVERSE: (0.5, 0.2)})
    assert noise.saved_gain(rows, 0.4) == pytest.approx([0.15] * 3)
    assert noise.claim_robust(rows).verdict == "holds"
    assert noise.claim_robust(noisy({noise.KT: (0.4, 0.1), noise.AVERSE: (0.5, 0.4)})).verdict == "does not hold"
    assert noise.claim_still_gains(rows).verdict == "holds"


# --- few


def test_the_claim_on_few_labels_looks_at_the_first_number_from_a_hundred_on() -> None:
    gains = {20: 0.2, 200: -0.1, 500: 0.3}
    rows = [row(seed, gain, thumbs=count) for count, gain in gains.items() for seed in SEEDS]
    assert few.claim_enough(rows).verdict == "does not hold"
    assert few.claim_enough([one for one in rows if one["thumbs"] != 200]).verdict == "holds"


# --- figure 7


def course(scores: tuple[float, ...], faithful: tuple[float, ...]) -> list[dict[str, Any]]:
    return [
        {"taste": "red", "seed": seed, "step": step, "score": score + 0.01 * seed, "faithfulness": right}
        for seed in SEEDS
        for step, score, right in zip((0, 31, 62, 93, 125), scores, faithful, strict=True)
    ]


def test_a_taste_must_rise_in_both_halves_and_faithfulness_must_not_fall() -> None:
    rows = course((0.0, 0.1, 0.2, 0.3, 0.4), (1.0, 1.0, 0.99, 0.98, 0.97))
    for one in rows:
        one["faithfulness"] += 0.001 * one["seed"]
    assert [claim.verdict for claim in fig7.claims_of(rows, "red")] == ["holds", "holds"]
    rows = course((0.0, 0.1, 0.2, 0.1, 0.05), (1.0, 0.95, 0.9, 0.85, 0.8))
    for one in rows:
        one["faithfulness"] += 0.001 * one["seed"]
    assert [claim.verdict for claim in fig7.claims_of(rows, "red")] == ["does not hold", "does not hold"]


# --- beyond


def test_win_rates_are_paired_by_image_and_turn_round_with_the_pair() -> None:
    def of(method: str, style: list[float], content: list[float]) -> list[dict[str, Any]]:
        scores = {"named line art": style, "faithfulness": content}
        return [{"method": method, "seed": s, "scores": scores} for s in SEEDS]

    rows = of("a", [1, 1, 0, 1], [0.9] * 4) + of("b", [0, 1, 0, 0], [0.9] * 4)
    found = beyond.win_rates_of_pairs(rows)
    assert beyond.win_rates_over(found, "a", "b", "named line art") == [0.75] * 3
    assert beyond.win_rates_over(found, "b", "a", "named line art") == [0.25] * 3
    assert beyond.claim_beats(found, "a", "b").verdict == "holds"
    assert beyond.claim_beats(found, "b", "a").verdict == "does not hold"
    worse = beyond.win_rates_of_pairs(of("a", [1, 1, 0, 1], [0.1] * 4) + of("b", [0, 1, 0, 0], [0.9] * 4))
    assert beyond.claim_beats(worse, "a", "b").verdict == "does not hold"


def recipe_of(settings: tuple[str, ...]) -> dict[str, Any]:
    lab = Grid(Order(folder=Path()), quiet, lambda line: None)
    return lab.recipe_of(GridCell(name="it", seed=0, settings=settings)).model_dump()


def test_all_but_the_paper_s_have_settings_that_the_search_tried() -> None:
    tried = [recipe_of(settings) for settings in search.SETTINGS.values()]
    for name, settings in beyond.METHODS.items():
        assert (recipe_of(settings) in tried) == (name != beyond.PAPER), name


DOCS = Path(__file__).parents[2] / "docs"


def by_style() -> dict[str, float]:
    """Setting -> the share that the judge of styles names line art, of the search as it was measured."""
    head, _, *rows = [line.split(" | ") for line in (DOCS / "search.md").read_text().splitlines() if line[:2] == "| "]
    column = head.index("named line art after")
    return {row[0].removeprefix("| "): float(row[column].split()[0]) for row in rows}


def test_what_is_said_of_the_choice_of_settings_is_so_in_the_search_as_measured() -> None:
    named = by_style()
    assert named["sft, lr 1e-3"] > named["sft"] and named["dpo, beta 500"] > named["dpo, beta 100"]
    assert named["bco, beta 250"] == named["bco, beta 60"] and named["csft, lr 1e-3"] > named["csft"]
    ours = sorted(search.CHANGES.keys() & named.keys(), key=named.__getitem__)
    assert len(ours) == 20 and set(ours[-2:]) == {"neutral balanced", "no prompt dropout"}
    for name, chosen in {"sft": "sft, lr 1e-3", "csft": "csft", "dpo": "dpo, beta 500", "bco": "bco, beta 250"}.items():
        assert recipe_of(beyond.METHODS[name]) == recipe_of(search.BASELINES[chosen])
    page = (DOCS / "beyond.md").read_text()
    assert beyond.SETTINGS_NOTE in page and beyond.SCHEDULE_NOTE in page and "found best" not in page


def test_the_paper_s_row_alone_has_no_cool_down() -> None:
    falling = {name for name, settings in beyond.METHODS.items() if recipe_of(settings)["train"]["cooldown"]}
    assert falling == beyond.METHODS.keys() - {beyond.PAPER}


def _kept(name: str, seed: int) -> dict[str, Any]:
    """The row of a form of the search that is in the repository."""
    order = Order(folder=DOCS / "results" / "search")
    if name in search.RETIRED:
        (retired,) = [one for one in search.retired_rows(order) if (one["setting"], one["seed"]) == (name, seed)]
        return retired
    (cell,) = [one for one in search.cells(order) if (one.columns["setting"], one.seed) == (name, seed)]
    row = finished_row(Grid(order, quiet, lambda line: None), cell)
    assert row is not None
    return row


def test_docs_tell_the_forms_of_the_figure_from_those_that_were_measured_later() -> None:
    text = (DOCS / "paper.md").read_text()
    assert f"{len(search.CHANGES) + len(search.RETIRED)} forms of our recipe and {len(search.BASELINES)}" in text
    later = (search.SETTINGS.keys() | search.RETIRED.keys()) - by_style().keys()
    assert len(later) == 6 and "Six forms were added after the figure was measured" in text
    for name in [*later, "start"]:
        made = [_kept(name, seed)["named_line_art_after"] for seed in (10, 11)]
        assert f"| {name} | {made[0]:.3f}, {made[1]:.3f} |" in text


def test_the_default_recipe_is_the_method_that_was_measured_on_the_grounds() -> None:
    measured = read_recipe(None, list(METHODS[AUTO_WINDOW].settings))
    assert measured == Recipe()


def test_beta_auto_is_the_default_recipe_of_before() -> None:
    measured = recipe_of((*beyond.BUDGET, *beyond.METHODS["kto, beta auto"]))
    plain = read_recipe(None, [*PLAIN, "train.steps=140"]).model_dump()
    assert (measured["objective"], measured["lora"]) == (plain["objective"], plain["lora"])
    usual = {"guards": plain["train"]["guards"], "validate_every": plain["train"]["validate_every"]}
    assert {**measured["train"], **usual} == plain["train"]
    other = recipe_of((*beyond.BUDGET, *beyond.METHODS[beyond.PAPER]))
    assert other["train"]["cooldown"] == 0 and other["train"]["lr"] == plain["train"]["lr"]


def test_every_method_has_the_same_budget() -> None:
    assert {"sft", "bco", beyond.PAPER, *beyond.OURS} <= beyond.METHODS.keys()
    for cell in beyond.cells(Order(folder=Path(), seeds=1)):
        train = parse_recipe(with_settings({}, list(cell.settings)), cell.name).train
        assert (train.steps, train.batch) == (140, 32), cell.name


# --- the search


def test_what_lost_its_content_or_has_no_result_ranks_behind_what_gained_least() -> None:
    def found(name: str, style: float | None, change: float = 0.0) -> dict[str, Any]:
        return {"setting": name, search.BY_STYLE: style, "faithfulness_before": 1.0, "faithfulness_change": change}

    rows = [found("broke", None), found("forgot", 0.9, -0.06), found("little", 0.1), found("much", 0.8, -0.04)]
    assert [one["setting"] for one in search.rank(rows)] == ["much", "little", "forgot", "broke"]


def test_the_search_changes_one_thing_at_a_time_on_seeds_of_its_own() -> None:
    order = Order(folder=Path(), seeds=5)
    assert {cell.seed for cell in search.cells(order)}.isdisjoint(order.demo_seeds(5))
    assert len({cell.name for cell in search.cells(order)}) == len(search.SETTINGS)
    plain = recipe_options(Recipe)
    start, *others = (
        parse_recipe(with_settings({}, [*PLAIN, *search.BUDGET, *search.SETTINGS[name]]), name).model_dump()
        for name in search.CHANGES
    )
    for name, other in zip(list(search.CHANGES)[1:], others, strict=True):
        apart = [dotted for dotted in plain if _at(start, dotted) != _at(other, dotted)]
        assert apart == [setting.partition("=")[0] for setting in search.CHANGES[name]], name


def _at(recipe: dict[str, Any], dotted: str) -> Any:
    for part in dotted.split("."):
        recipe = recipe[part]
    return recipe


def test_a_page_says_the_budget_that_its_trainings_had(tmp_path: Path) -> None:
    full, quick = (Order(folder=tmp_path, quick=quick) for quick in (False, True))
    for settings in (beyond.BUDGET, search.BUDGET):
        assert budget_text(full, settings) == "140 steps of 32 images"
        assert budget_text(quick, settings) == "2 steps of 4 images"


# --- end to end


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_each_experiment_runs_and_a_second_call_makes_nothing_again(name: str, tmp_path: Path) -> None:
    lines: list[str] = []
    page = perform(name, Order(folder=tmp_path / "out", quick=True), quiet, lines.append)
    assert len(lines) == QUICK[name]
    assert not [line for line in lines if line.endswith("finished before") or "cannot" in line or "diverged" in line]
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert {one["status"] for one in rows} == {"trained"}
    assert "140 steps" not in page.read_text()
    assert (tmp_path / "out" / "figure.png").stat().st_size > 5000
    files = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir() if file.is_file()}
    lines.clear()
    assert perform(name, Order(folder=tmp_path / "out", quick=True), quiet, lines.append) == page
    assert all(line.endswith("finished before") for line in lines)
    for file in files.keys() - {"provenance.json"}:
        assert (tmp_path / "out" / file).read_bytes() == files[file], file
