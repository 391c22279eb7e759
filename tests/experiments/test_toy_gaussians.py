"""What a cloud of points is asked, against closed forms; and the intervals that decide claims."""

import math

import pytest
import torch
from scipy.stats import ncx2, norm

from thumbtune.experiments import seed_statistics
from thumbtune.experiments.result_page import FAILS, HOLDS, OPEN, verdict_of
from thumbtune.experiments.toy_gaussians import DESIRABLE, DIRECTIONS, FAR, UNDESIRABLE, apart, kept_near, measures

MANY = 200_000


def test_samples_of_the_desirable_gaussian_measure_as_the_closed_forms_say() -> None:
    found = measures(DESIRABLE.sample(MANY, torch.Generator().manual_seed(3)))
    assert found["log-density"] == pytest.approx(-math.log(2 * math.pi * 0.01) - 1, abs=0.01)
    assert found["inside P_d"] == pytest.approx(0.95, abs=0.003)
    # the centres are two standard deviations apart: the line between them is one away, the other's disc is non-central
    assert found["nearer P_u"] == pytest.approx(norm.cdf(-1), abs=0.003)
    assert found["inside P_u"] == pytest.approx(ncx2.cdf(-2 * math.log(0.05), 2, 4), abs=0.004)
    assert found["displacement"] < 0.001
    assert 0.75 < found["well placed"] < 1 - norm.cdf(-1)


def test_measures_of_four_points_by_hand() -> None:
    points = torch.tensor([[0.3, 0.8], [0.3, 0.9], [0.3, 0.65], [0.9, 0.8]])
    found = measures(points)
    # squared distances to (0.3, 0.8) over 0.01: 0, 1, 2.25, 36
    assert found["log-density"] == pytest.approx(-math.log(0.02 * math.pi) - (0 + 1 + 2.25 + 36) / 8, rel=1e-5)
    assert found["inside P_d"] == 0.75
    assert found["inside P_u"] == 0.5  # distances 4, 9, 0.25 and 40 variances; the disc ends at 5.99
    assert found["nearer P_u"] == 0.25
    assert found["well placed"] == 0.5
    assert found["displacement"] == pytest.approx(math.hypot(0.15, -0.0125), rel=1e-5)
    assert found["beyond P_d"] == pytest.approx(-0.0125, abs=1e-6)


def test_beyond_is_positive_on_the_side_away_from_the_undesirable() -> None:
    away = UNDESIRABLE.centre + 2.5 * (DESIRABLE.centre - UNDESIRABLE.centre)
    assert measures(away[None])["beyond P_d"] == pytest.approx(0.3)


def test_a_point_that_left_for_ever_counts_as_far_away() -> None:
    lost = torch.tensor([[float("nan"), 0.8], [float("inf"), 0.8], [1e30, 0.8], [0.3, -7.0]])
    kept = kept_near(lost)
    assert (kept[:3] - DESIRABLE.centre).norm(dim=1).tolist() == pytest.approx([FAR] * 3)
    assert kept[3].tolist() == pytest.approx([0.3, -7.0])
    assert math.isfinite(measures(lost)["log-density"])


def test_clouds_that_are_shifted_copies_are_as_far_apart_as_the_shift_seen_from_all_sides() -> None:
    cloud = DESIRABLE.sample(500, torch.Generator().manual_seed(1)).double()
    angles = [i * math.pi / DIRECTIONS for i in range(DIRECTIONS)]
    seen = sum(abs(0.3 * math.cos(a)) for a in angles) / DIRECTIONS
    assert apart(cloud, cloud + torch.tensor([0.3, 0.0])) == pytest.approx(seen)
    assert seen == pytest.approx(0.3 * 2 / math.pi, rel=0.01)
    assert apart(cloud, cloud.flip(0)) == 0


def test_an_interval_over_three_seeds_by_hand() -> None:
    # mean 2, sd 1, t(0.975, 2) = 4.302653
    found = seed_statistics.interval([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert seed_statistics.interval([1.0]) is None


@pytest.mark.parametrize(
    ("values", "threshold", "above"),
    [
        ([1.0, 1.1, 0.9], 0.5, True),
        ([1.0, 1.1, 0.9], 1.5, False),
        ([1.0, 1.1, 0.9], 1.01, None),
        ([9.0], 0.0, None),
        ([math.nan, 1.0, 1.0], 0.0, None),
    ],
)
def test_a_mean_is_above_below_or_cannot_be_told(values: list[float], threshold: float, above: bool | None) -> None:
    assert seed_statistics.is_above(values, threshold) is above
    assert seed_statistics.is_below(values, threshold) is (None if above is None else not above)


def test_a_claim_needs_all_its_conditions() -> None:
    assert verdict_of(True, True) == HOLDS
    assert verdict_of(True, None) == OPEN
    assert verdict_of(None, False) == FAILS
