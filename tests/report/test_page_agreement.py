"""Held-out agreement on a run's page: accuracy beside its base rate, and raters without names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_run import write_run
from parsed_page import Page

from thumbtune.evaluation.classifier import HeldOutLabels, measure_agreement
from thumbtune.report.page import write_page

HOSTILE = "<script>alert(1)</script>"
ANN = np.tile([True, True, False], 4)


def found(*raters: tuple[str, np.ndarray]) -> dict[str, Any]:
    """Of twelve images, twelve prompts; the model has Ann's mind."""
    votes = HeldOutLabels(
        np.concatenate([np.arange(len(kinds)) for _, kinds in raters]),
        np.concatenate([kinds for _, kinds in raters]),
        [name for name, kinds in raters for _ in kinds],
    )
    labels = HeldOutLabels(np.arange(12), ANN)
    return measure_agreement(np.where(ANN, 1.0, -1.0), [str(n) for n in range(12)], labels, votes)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", ["a cat"], [0, 1])


def text_of(run_folder: Path, measured: dict[str, Any]) -> tuple[str, Page]:
    file = run_folder / "evaluation" / "verdict.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"agreement": measured}))
    text = write_page(run_folder).read_text(encoding="utf-8")
    page = Page(text)
    return " ".join(page.text.split()), page


@pytest.mark.slow
def test_accuracy_stands_beside_its_base_rate(run_folder: Path) -> None:
    text, page = text_of(run_folder, found(("Ann", ANN)))
    assert "100% of these labels correctly (95% interval 100% to 100%)." in text
    assert "more frequent label, is 67%." in text and "weights likes and dislikes equally, is 100%" in text
    assert "Each rater's own votes" not in text and "Too few raters" not in text, "one rater needs no table"
    assert len(page.named("table")) == len(page.named("caption"))


@pytest.mark.slow
def test_two_raters_get_a_table_without_their_names(run_folder: Path) -> None:
    text, page = text_of(run_folder, found(("Ann", ANN), ("Bob", ~ANN), ("Cyd", np.array([True] * 3))))
    assert "Rater 1" in text and "Rater 2" in text and "Rater 3" not in text
    assert "Without a row: 1 rater with only likes or only dislikes." in text
    assert not {"Ann", "Bob", "Cyd"} & set(text.split())
    assert "base rate 67%" in text and "8 liked" in text and "4 liked" in text
    assert len(page.named("table")) == len(page.named("caption"))


@pytest.mark.slow
def test_raters_who_cannot_be_told_apart_are_counted(run_folder: Path) -> None:
    few = np.array([True, False])
    text, _ = text_of(run_folder, found(("Ann", ANN), ("Bob", few), ("Cyd", few)))
    assert "Too few raters for a table: 2 raters with votes on fewer than 10 prompts." in text


@pytest.mark.slow
def test_more_thumbs_than_images_are_named(run_folder: Path) -> None:
    text, _ = text_of(run_folder, found(("Ann", ANN)) | {"labels": 24})
    assert "On 12 images (24 labels, 8 liked, 12 prompts)" in text


@pytest.mark.slow
def test_what_a_file_calls_a_rater_is_escaped(run_folder: Path) -> None:
    measured = found(("Ann", ANN), ("Bob", ~ANN))
    measured["raters"][0]["rater"] = HOSTILE
    text_of(run_folder, measured)
    assert (run_folder / "report.html").read_text(encoding="utf-8").lower().count("<script>") == 1, "ours"


@pytest.mark.slow
def test_an_evaluation_of_an_earlier_version_is_still_shown(run_folder: Path) -> None:
    old = {"auc": 0.86, "low": 0.8, "high": 0.91, "images": 180, "liked": 40, "prompts": 5}
    text, _ = text_of(run_folder, old)
    assert "On 180 images (40 liked, 5 prompts)" in text and "86% of pairs" in text and ", too few prompts" in text
    assert "base rate" not in text
