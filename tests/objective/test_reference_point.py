"""ReferencePoint points: by hand, never below 0, and unmoved by broken images."""

import json
import math

import pytest
import torch
from torch import Tensor

from thumbtune.objective.reference_point import REFERENCE_POINTS, Balanced, Batch, Mismatched, Running, Zero


def seen(ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Log-ratios with thumbs that take turns, up first."""
    return ratios, torch.arange(len(ratios)) % 2 == 0


def test_batch_is_the_mean_of_the_batch_and_never_below_0() -> None:
    # (0.3 - 0.1 + 0.1) / 3 = 0.1; (-0.3 + 0.1) / 2 = -0.1, clamped
    assert Batch().before(*seen(torch.tensor([0.3, -0.1, 0.1]))) == pytest.approx(0.1)
    assert Batch().before(*seen(torch.tensor([-0.3, 0.1]))) == 0.0


def test_batch_of_no_finite_image_is_0() -> None:
    assert Batch().before(None, None) == 0.0
    assert Batch().before(*seen(torch.zeros(0))) == 0.0


def test_batch_remembers_nothing() -> None:
    estimator = Batch()
    estimator.after(*seen(torch.tensor([5.0])))
    assert estimator.before(*seen(torch.tensor([0.1]))) == pytest.approx(0.1)
    assert estimator.state() == {}


def test_zero_is_0_whatever_happened() -> None:
    estimator = Zero()
    estimator.after(*seen(torch.tensor([5.0])))
    assert estimator.before(*seen(torch.tensor([5.0]))) == 0.0
    estimator.restore(estimator.state())
    assert estimator.before(None, None) == 0.0


def test_running_by_hand() -> None:
    estimator = Running(decay=0.9)
    assert estimator.before(None, None) == 0.0  # nothing seen
    # mean 0.1 * 0.2 = 0.02, weight 0.1: corrected 0.2, the batch itself
    estimator.after(*seen(torch.tensor([0.1, 0.3])))
    assert estimator.before(None, None) == pytest.approx(0.2)
    # mean 0.9 * 0.02 + 0.1 * 0.4 = 0.058, weight 0.9 * 0.1 + 0.1 = 0.19: corrected 0.305263
    estimator.after(*seen(torch.tensor([0.4])))
    assert estimator.before(None, None) == pytest.approx(0.058 / 0.19)
    # mean 0.9 * 0.058 - 0.1 * 1 = -0.0478: below 0, so 0, but remembered
    estimator.after(*seen(torch.tensor([-1.0])))
    assert estimator.before(None, None) == 0.0
    assert estimator.mean == pytest.approx(-0.0478)


def test_running_does_not_look_at_the_batch_to_come() -> None:
    estimator = Running()
    estimator.after(*seen(torch.tensor([0.2])))
    assert estimator.before(*seen(torch.tensor([99.0]))) == estimator.before(None, None) == pytest.approx(0.2)
    looks_at = {name: estimator.looks_at for name, estimator in REFERENCE_POINTS.items()}
    assert looks_at == {
        "batch": "batch", "mismatched": "mismatched", "balanced": "batch", "running": "nothing", "zero": "nothing",
    }  # fmt: skip


def test_running_is_unbiased_from_the_first_batch() -> None:
    estimator = Running(decay=0.99)
    for _ in range(5):
        estimator.after(*seen(torch.full((4,), 0.25)))
        assert estimator.before(None, None) == pytest.approx(0.25)


@pytest.mark.parametrize("name", REFERENCE_POINTS)
def test_the_state_goes_through_json_and_back(name: str) -> None:
    first, second = REFERENCE_POINTS[name](), REFERENCE_POINTS[name]()
    for estimator in (first,):
        estimator.after(*seen(torch.tensor([0.3, 0.1])))
        estimator.after(*seen(torch.tensor([0.123456789])))
    second.restore(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    more = torch.tensor([0.7])
    for estimator in (first, second):
        estimator.after(*seen(more))
    assert second.before(*seen(more)) == first.before(*seen(more))


def test_a_batch_without_one_finite_image_leaves_the_running_mean_as_it_was() -> None:
    estimator = Running()
    estimator.after(*seen(torch.tensor([0.2])))
    estimator.after(*seen(torch.zeros(0)))
    assert math.isfinite(estimator.mean)
    assert estimator.before(None, None) == pytest.approx(0.2)


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_outside_0_to_1_is_refused_with_an_example(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\).*try 0.95"):
        Running(decay)


def test_mismatched_is_the_clamped_mean_of_what_it_is_shown() -> None:
    assert Mismatched().before(*seen(torch.tensor([0.3, -0.1, 0.1]))) == pytest.approx(0.1)
    assert Mismatched().before(*seen(torch.tensor([-0.3, 0.1]))) == 0.0


def test_balanced_lies_half_way_between_the_kinds_however_many_there_are_of_each() -> None:
    liked = torch.tensor([True, True, True, False])
    # ((0.3 + 0.2 + 0.1) / 3 - 0.4) / 2 = -0.1: not clamped
    assert Balanced().before(torch.tensor([0.3, 0.2, 0.1, -0.4]), liked) == pytest.approx(-0.1)


def test_a_kind_that_a_batch_lacks_keeps_its_last_mean() -> None:
    estimator = Balanced()
    estimator.after(torch.tensor([0.3, -0.1]), torch.tensor([True, False]))
    only_liked = torch.tensor([0.5, 0.5]), torch.tensor([True, True])
    assert estimator.before(*only_liked) == pytest.approx((0.5 - 0.1) / 2)
    assert estimator.before(None, None) == pytest.approx(0.1)
    estimator.after(*only_liked)
    assert estimator.state() == pytest.approx({"liked": 0.5, "disliked": -0.1})
