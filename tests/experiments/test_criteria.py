"""Criteria: shares, margins and the F between methods, by hand."""

import numpy as np
import pytest
from scipy.stats import f_oneway

from thumbtune.experiments.criteria import (
    AT_A_COST,
    BETTER,
    LOSES_BUT_KEEPS,
    WORSE,
    conditions_of_better,
    is_better,
    paired_win_rate,
    separation,
    share_of_headroom,
    standing_of,
)

GAINED, LOST, NONE = [0.5, 0.6, 0.7], [-0.5, -0.6, -0.7], [0.5, -0.6, 0.1]
KEPT, FELL, WIDE = [-0.001, 0.0, 0.001], [-0.03, -0.031, -0.032], [-0.03, 0.03, 0.0]


def test_the_base_is_at_0_and_what_is_asked_at_1() -> None:
    assert share_of_headroom(-3.0, -3.0, 2.0) == 0
    assert share_of_headroom(2.0, -3.0, 2.0) == 1
    assert share_of_headroom(-4.0, -3.0, 2.0) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("gains", "faithfulness", "answer"),
    [
        (GAINED, KEPT, True),
        (GAINED, FELL, False),  # better by the judge, at a cost that the margin does not allow
        (GAINED, WIDE, None),
        (LOST, KEPT, False),
        (NONE, KEPT, None),
        (NONE, FELL, False),
        (GAINED[:1], KEPT[:1], None),
        ([], [], None),
    ],
)
def test_better_needs_a_gain_and_no_loss_beyond_the_margin(
    gains: list[float], faithfulness: list[float], answer: bool | None
) -> None:
    assert is_better(gains, faithfulness) is answer


def test_another_margin_allows_another_loss() -> None:
    loses = [-0.03, -0.031, -0.032]
    assert is_better(GAINED, loses, margin=0.05) is True and standing_of(GAINED, loses, margin=0.05) == BETTER
    assert is_better(GAINED, loses, margin=0.02) is False and standing_of(GAINED, loses, margin=0.02) == AT_A_COST


@pytest.mark.parametrize(
    ("gains", "faithfulness", "there", "back"),
    [
        (GAINED, KEPT, BETTER, WORSE),
        (LOST, FELL, WORSE, BETTER),
        (GAINED, FELL, AT_A_COST, LOSES_BUT_KEEPS),
        (GAINED, WIDE, None, None),
        (NONE, FELL, None, None),  # the loss alone is not a gain of the other
        (NONE, KEPT, None, None),
        ([], [], None, None),
    ],
)
def test_a_standing_is_that_of_the_other_seen_from_here(
    gains: list[float], faithfulness: list[float], there: str | None, back: str | None
) -> None:
    assert standing_of(gains, faithfulness) == there
    assert standing_of([-gain for gain in gains], [-change for change in faithfulness]) == back


def test_a_loss_of_faithfulness_within_the_margin_is_none() -> None:
    """Its interval reaches from -0.0092 to -0.0068: surely lower, and by less than 0.01."""
    assert conditions_of_better(GAINED, [-0.0085, -0.008, -0.0075]) == (True, True)
    assert conditions_of_better(GAINED, [-0.0105, -0.01, -0.0095]) == (True, None)


def test_the_f_of_a_table_by_hand() -> None:
    """Means of methods 2, 4, of seeds 2, 3, 4, of all 3; left: 0.5 of each of four cells and 0 of two."""
    cells = np.array([[1.5, 2.0, 2.5], [2.5, 4.0, 5.5]])
    found = separation(cells)
    assert found is not None and (found.between, found.within) == (1, 2)
    explained = 3 * (1.0 + 1.0) / 1
    left = (0.5**2 * 4) / 2
    assert found.f == pytest.approx(explained / left) == pytest.approx(12.0)
    assert found.p == pytest.approx(0.0742, abs=1e-3)
    assert str(found).startswith("F(1, 2) = 12.0, p = 0.07")


def test_without_an_effect_of_seeds_the_f_is_that_of_one_way_cells_with_the_seeds_taken_out() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 9))
    noise -= noise.mean(0)  # no seed is better than another
    cells = noise + np.arange(4)[:, None] * 0.3
    found, plain = separation(cells), f_oneway(*cells)
    assert found is not None
    assert found.f == pytest.approx(plain.statistic * found.within / (4 * 8))  # same sums, other degrees of freedom
    shifted = separation(cells + 100 * np.arange(9))
    assert shifted is not None and shifted.f == pytest.approx(found.f)


def test_equal_methods_separate_nothing_and_one_seed_tells_nothing() -> None:
    assert separation(np.zeros((3, 1))) is None and separation(np.zeros((1, 3))) is None
    found = separation(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert found is not None and found.f == 0


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_equal_cells_have_an_f_of_0(value: float) -> None:
    """The mean of seven thirds differs from a third in its last digit."""
    found = separation(np.full((3, 7), value))
    assert found is not None and (found.f, found.p) == (0, 1)


def test_a_tie_of_paired_images_counts_half() -> None:
    assert paired_win_rate([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 3.0]) == 0.625
