"""The model of sums over processes, by hand, and its fit, by inverse."""

import math
from pathlib import Path

import pytest

from benchmarks.processes import fitted, model_lines, slowest, sum_seconds


def test_a_sum_by_hand() -> None:
    assert sum_seconds(1e9, 1, 1e-5, 1e9) == 0
    assert sum_seconds(1e9, 2, 0.0, 1e9) == 1.0  # each sends half of it twice
    assert sum_seconds(0, 5, 1e-3, 1e9) == pytest.approx(8e-3)
    assert sum_seconds(8e9, 4, 1e-3, 2e9) == pytest.approx(6e-3 + 6.0)


def test_the_fit_finds_what_made_the_times() -> None:
    rows = [
        {"processes": count, "bytes": size, "seconds": sum_seconds(size, count, 3e-5, 2e9)}
        for count in (2, 4)
        for size in (1e4, 1e6, 1e8)
    ]
    latency, bandwidth = fitted(rows)
    assert latency == pytest.approx(3e-5, rel=1e-6) and bandwidth == pytest.approx(2e9, rel=1e-6)


def test_one_process_waits_for_nobody() -> None:
    assert slowest(1) == 0
    assert slowest(1000, 0.1) == pytest.approx(0.1 * math.sqrt(2 * math.log(1000)))


def test_the_table_has_a_column_for_each_number_of_gpus() -> None:
    lines = model_lines()
    assert len({line.count("|") for line in lines}) == 1 and "1,024 GPUs" in lines[0]


def test_the_page_has_the_table_of_the_model() -> None:
    page = (Path(__file__).parents[1] / "docs" / "processes.md").read_text(encoding="utf-8")
    assert "\n".join(model_lines()) in page
