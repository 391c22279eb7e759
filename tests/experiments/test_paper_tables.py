"""The paper's tables: the numbers as printed, who takes part, and each of them end to end at tiny size."""

import csv
import json
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.evaluation.prompts import PROMPT_SETS
from thumbtune.evaluation.win_rates import units
from thumbtune.experiments import paper_numbers, table2
from thumbtune.experiments.compared_models import SD15, SD21, SIDE, available_models
from thumbtune.experiments.experiments import Order, perform
from thumbtune.experiments.score_tables import mean_of
from thumbtune.experiments.win_rate_tables import claim_wins
from thumbtune.training.progress import quiet

NOBODY = Order(folder=Path())


def silent(text: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize(("percent", "theirs"), [(86.0, 1.36), (96.6, 0.71), (50.6, 1.96), (74.2, 1.72)])
def test_the_papers_interval_takes_every_image_for_a_trial(percent: float, theirs: float) -> None:
    assert paper_numbers.half_width(percent, 2500) == pytest.approx(theirs, abs=0.005)
    assert paper_numbers.half_width(percent, 500) == pytest.approx(theirs * 5**0.5, abs=0.02)


def test_every_rate_of_table_1_is_one_of_500_prompts() -> None:
    rates = [rate for row in paper_numbers.TABLE1.values() for rate in row]
    assert len(rates) == 30
    assert all(round(5 * rate, 6) % 1 == 0 for rate in rates)


def test_exchanged_heads_are_put_right() -> None:
    kto = dict(zip(paper_numbers.COLUMNS, paper_numbers.table2_row("kto"), strict=True))
    assert kto == {"Aesthetic": 5.527, "PickScore": 20.908, "ImageReward": 0.623, "CLIP": 31.781, "HPS v2": 0.342}
    theirs = [row["kto"] for row in paper_numbers.MEASURED_AGAIN if row["score"] == "ImageReward"]
    assert all(abs(kto["ImageReward"] - other) < 0.06 for other in theirs)


def test_the_sets_are_those_of_the_paper() -> None:
    assert {name: PROMPT_SETS[name].count for name in paper_numbers.TABLE7} == {
        "pickapic-v2-test": 500,
        "hpsv2": 3200,
        "partiprompts": 1632,
    }


def test_the_published_models_take_part_and_the_others_are_named() -> None:
    lines: list[str] = []
    sides = available_models(NOBODY, SD15, lines.append)
    assert set(sides) == {"sd15", "dpo", "kto"}
    assert [line.split(" is left out")[0] for line in lines] == ["SFT", "CSFT", "AlignProp", "D3PO"]
    assert "--model sft=RUN" in lines[0]


def test_a_model_of_ones_own_stands_for_a_row() -> None:
    order = Order(folder=Path(), models={"sft": "runs/sft", "kto": "runs/mine"})
    sides = available_models(order, SD15, silent)
    assert (sides["sft"], sides["kto"]) == ("runs/sft", "runs/mine")


def test_unknown_rows_and_a_table_without_diffusion_kto_are_refused() -> None:
    with refused("paper-unknown-row", UsageError, naming=["sft", "sd21, dpo, kto"]):
        available_models(Order(folder=Path(), models={"sft": "x"}), SD21, silent)
    with refused("paper-no-kto", UsageError, naming="--model kto=RUN"):
        available_models(NOBODY, SD21, silent)


def rate(baseline: str, low: float, high: float) -> dict[str, object]:
    return {"baseline": baseline, "score": "CLIP", "rate": (low + high) / 2, "low": low, "high": high, "p": 0.01}


def test_a_win_by_every_score_holds_fails_or_cannot_be_told() -> None:
    assert claim_wins([rate("sd15", 51, 60), rate("sd15", 60, 70)], "sd15", "SD").verdict == "holds"
    assert claim_wins([rate("sd15", 51, 60), rate("sd15", 45, 55)], "sd15", "SD").verdict == "cannot be told"
    assert claim_wins([rate("sd15", 51, 60), rate("sd15", 30, 40)], "sd15", "SD").verdict == "does not hold"
    assert claim_wins([rate("sd15", 51, 60)], "dpo", "DPO").evidence == "not measured here."


def test_the_highest_mean_needs_all_baselines() -> None:
    row = {
        "prompts": 9,
        "scorer": "clip",
        "baseline": "dpo",
        "holm": 0.01,
        "change": {"mean": 1.0, "low": 0.5, "high": 1.5},
    }
    assert table2.claim_highest([row], all_there=True).verdict == "holds"
    assert table2.claim_highest([row], all_there=False).verdict == "cannot be told"
    lost = {**row, "change": {"mean": -1.0, "low": -1.5, "high": -0.5}}
    assert table2.claim_highest([row, lost], all_there=False).verdict == "does not hold"


def test_a_mean_by_hand_leaves_out_what_was_not_scored() -> None:
    nan = float("nan")
    found = mean_of([[1.0, 3.0], [nan, 4.0], [nan, nan]], units(["a", "b", "c"]))
    assert found["mean"] == 3.0
    assert found["low"] == 2.0
    assert found["high"] == 4.0
    assert mean_of([[nan]], units(["a"])) == {"mean": None, "low": None, "high": None}


def test_seeds_of_a_table_and_models_of_a_figure_are_refused(tmp_path: Path) -> None:
    with refused("paper-no-seeds", UsageError, naming=["table1", "five images of each prompt", "--seeds"]):
        perform("table1", Order(folder=tmp_path / "a", seeds=3), quiet, silent)
    with refused("paper-not-a-table", UsageError, naming=["fig8", "--limit"]):
        perform("fig8", Order(folder=tmp_path / "a", limit=3), quiet, silent)
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lines"), [("table1", 6 * 5), ("table2", 7 * 5), ("table6", 2 * 5), ("table7", 3 * 2 * 5)]
)
def test_a_table_is_built_from_images_to_page_and_goes_on(name: str, lines: int, tmp_path: Path) -> None:
    order = Order(folder=tmp_path / name, quick=True)
    page = perform(name, order, quiet, silent)
    with (order.folder / "table.csv").open(newline="") as rows:
        assert len(list(csv.DictReader(rows))) == lines
    assert (order.folder / "figure.png").stat().st_size > 5000
    assert json.loads((order.folder / "provenance.json").read_text())["quick"] is True
    text = page.read_text()
    assert "paper" in text
    assert str(tmp_path) not in text
    images = {path: path.stat().st_mtime_ns for path in order.folder.rglob("*.png") if path.parent.name == SIDE}
    assert images
    assert perform(name, order, quiet, silent).read_text() == text
    assert all(path.stat().st_mtime_ns == then for path, then in images.items())
