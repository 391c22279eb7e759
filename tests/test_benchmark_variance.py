"""The benchmark of noise levels in a batch: arrangements keep each level uniform, and its sums are those by hand."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import machine, variance

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def test_the_page_has_the_table_of_the_rows() -> None:
    assert variance.table(machine.rows_in(variance.FILE)) in PAGE.read_text()


def test_each_part_of_the_levels_has_one_image() -> None:
    random = torch.Generator().manual_seed(0)
    for count in (1, 2, 7, 16):
        uniform, order = torch.rand(count, generator=random), torch.randperm(count, generator=random)
        parts = (variance.stratified(uniform, order) * count).floor().sort().values
        assert parts.tolist() == list(range(count))


def test_two_images_share_a_level_and_its_opposite() -> None:
    random = torch.Generator().manual_seed(1)
    for count in (1, 2, 7, 16):
        uniform, order = torch.rand(count, generator=random), torch.randperm(count, generator=random)
        levels, half = variance.antithetic(uniform, order), count // 2
        assert torch.allclose(levels[order[:half]] + levels[order[half : 2 * half]], torch.ones(half))
        unchanged = [*order[:half].tolist(), *order[2 * half :].tolist()]
        assert torch.equal(levels[unchanged], uniform[unchanged])


def test_the_variance_and_its_ratio_are_those_of_the_vectors() -> None:
    vectors = torch.randn(12, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    products = vectors @ vectors.T
    assert variance.variance(products) == pytest.approx(float(vectors.var(0).sum()))
    middle, low, high = variance.ratio(4 * products, products)
    assert (middle, low, high) == pytest.approx((4, 4, 4))
    others = torch.randn(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    middle, low, high = variance.ratio(others @ others.T, products)
    assert low < middle < high


def test_equal_norms_leave_nothing_to_gain() -> None:
    assert variance.left_by_norm([(place / 16, 2.0) for place in range(16)]) == pytest.approx(1)
    # of eight levels one has all of the norm: an eighth is left
    assert variance.left_by_norm([(place / 8, float(place == 3)) for place in range(8)]) == pytest.approx(1 / 8)


@pytest.mark.slow
def test_the_command_measures_both_recipes(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.variance", "--quick", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    rows = machine.rows_in(out)
    kinds = [*variance.KINDS[1:], "by norm"]
    assert [(row["recipe"], row["levels"]) for row in rows] == [
        (name, kind) for name in variance.RECIPES for kind in kinds
    ]
    assert all(row["variance"] > 0 for row in rows)
