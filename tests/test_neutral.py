"""Neutral points: by hand, never below 0, and unmoved by broken images."""

import json
import math

import pytest
import torch

from thumbtune.neutral import NEUTRALS, Batch, Running, Zero, pooled


def test_batch_is_the_mean_of_the_batch_and_never_below_0() -> None:
    # (0.3 - 0.1 + 0.1) / 3 = 0.1; (-0.3 + 0.1) / 2 = -0.1, clamped
    assert Batch().before(torch.tensor([0.3, -0.1, 0.1])) == pytest.approx(0.1)
    assert Batch().before(torch.tensor([-0.3, 0.1])) == 0.0


def test_batch_of_no_finite_image_is_0() -> None:
    assert Batch().before(None) == 0.0
    assert Batch().before(torch.zeros(0)) == 0.0


def test_batch_remembers_nothing() -> None:
    estimator = Batch()
    estimator.after(torch.tensor([5.0]))
    assert estimator.before(torch.tensor([0.1])) == pytest.approx(0.1)
    assert estimator.state() == {}


def test_zero_is_0_whatever_happened() -> None:
    estimator = Zero()
    estimator.after(torch.tensor([5.0]))
    assert estimator.before(torch.tensor([5.0])) == 0.0
    estimator.restore(estimator.state())
    assert estimator.before(None) == 0.0


def test_running_by_hand() -> None:
    estimator = Running(decay=0.9)
    assert estimator.before(None) == 0.0  # nothing seen
    # mean 0.1 * 0.2 = 0.02, weight 0.1: corrected 0.2, the batch itself
    estimator.after(torch.tensor([0.1, 0.3]))
    assert estimator.before(None) == pytest.approx(0.2)
    # mean 0.9 * 0.02 + 0.1 * 0.4 = 0.058, weight 0.9 * 0.1 + 0.1 = 0.19: corrected 0.305263
    estimator.after(torch.tensor([0.4]))
    assert estimator.before(None) == pytest.approx(0.058 / 0.19)
    # mean 0.9 * 0.058 - 0.1 * 1 = -0.0478: below 0, so 0, but remembered
    estimator.after(torch.tensor([-1.0]))
    assert estimator.before(None) == 0.0
    assert estimator.mean == pytest.approx(-0.0478)


def test_running_does_not_look_at_the_batch_to_come() -> None:
    estimator = Running()
    estimator.after(torch.tensor([0.2]))
    assert estimator.before(torch.tensor([99.0])) == estimator.before(None) == pytest.approx(0.2)
    assert not Running.looks_at_batch and not Zero.looks_at_batch and Batch.looks_at_batch


def test_running_is_unbiased_from_the_first_batch() -> None:
    estimator = Running(decay=0.99)
    for _ in range(5):
        estimator.after(torch.full((4,), 0.25))
        assert estimator.before(None) == pytest.approx(0.25)


@pytest.mark.parametrize("name", NEUTRALS)
def test_the_state_goes_through_json_and_back(name: str) -> None:
    first, second = NEUTRALS[name](), NEUTRALS[name]()
    for estimator in (first,):
        estimator.after(torch.tensor([0.3, 0.1]))
        estimator.after(torch.tensor([0.123456789]))
    second.restore(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    more = torch.tensor([0.7])
    for estimator in (first, second):
        estimator.after(more)
    assert second.before(more) == first.before(more)


def test_a_batch_without_one_finite_image_leaves_the_running_mean_as_it_was() -> None:
    estimator = Running()
    estimator.after(torch.tensor([0.2]))
    estimator.after(torch.zeros(0))
    assert math.isfinite(estimator.mean)
    assert estimator.before(None) == pytest.approx(0.2)


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_outside_0_to_1_is_refused_with_an_example(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\).*try 0.95"):
        Running(decay)


def test_pooled_joins_the_parts_in_order_without_what_is_not_finite() -> None:
    parts = [torch.tensor([0.1, math.nan]), torch.tensor([math.inf]), torch.tensor([-math.inf, 0.2])]
    torch.testing.assert_close(pooled(parts), torch.tensor([0.1, 0.2]))
    assert pooled([]).shape == (0,)
