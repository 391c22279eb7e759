"""The benchmark of steps: its kinds take a step each, and its page has the numbers of its rows."""

import json
from pathlib import Path

import pytest

from benchmarks import steps
from benchmarks.models import SD1, TINY_SIZE, write_model, write_weights
from thumbtune.training.cache import Cache

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def test_the_page_has_the_numbers_of_the_rows() -> None:
    page = PAGE.read_text()
    for row in json.loads(steps.FILE.read_text())["rows"]:
        ratio = "1.00" if row["kind"] == "plain" else f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        assert f"| {row['weights']} | {row['kind']} | {1000 * row['seconds']:.0f} ms | {ratio} |" in page


@pytest.mark.slow
def test_each_kind_of_step_trains_and_known_draws_cost_no_pass_of_the_reference(tmp_path: Path) -> None:
    model = write_weights(write_model(tmp_path / "model", SD1, tiny=True))
    case = steps.Case(name="tiny", model=str(model), size=TINY_SIZE, batch=2)
    rows = steps.measure(case, Cache(tmp_path / "cache"), "cpu", rounds=2)
    assert [row["kind"] for row in rows] == list(steps.KINDS)
    assert all(row["seconds"] > 0 and row["peak_gib"] is None for row in rows)
    plain, kto, known = (
        steps.counted(steps.KINDS[kind](case, Cache(tmp_path / "cache")))
        for kind in steps.KINDS
        if kind != "conventional"
    )
    assert plain == known < kto
