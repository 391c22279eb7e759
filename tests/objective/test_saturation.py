"""Gains and pulls: the argument of the utility, and how much of its slope is left."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from thumbtune.objective.baselines import BCO, CSFT, DPO, SFT
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.protocol import Objective
from thumbtune.objective.saturation import FLAT_GRADIENT_WEIGHT, gain_of, gradient_weight
from thumbtune.objective.utility import loss_averse, risk_seeking


def judged(ratios: list[float], liked: list[bool] | None = None, reference_point: float = 0.0) -> Judged:
    """Images of a reference error of 1 whose policy is better by the given log-ratios; pairs are neighbours."""
    ratio = torch.tensor(ratios, dtype=torch.float64)
    return Judged(
        policy_error=(1 - ratio).requires_grad_(),
        reference_error=torch.ones_like(ratio),
        liked=torch.tensor(liked or [True, False] * (len(ratios) // 2)),
        weight=torch.ones_like(ratio),
        reference_point=torch.tensor(reference_point, dtype=torch.float64),
        partner=torch.arange(len(ratios)) ^ 1,
    )


def close(actual: Tensor | None, expected: list[float]) -> None:
    assert actual is not None
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


def test_the_gradient_weight_of_a_sigmoid_fades_on_both_sides_by_its_derivative() -> None:
    case = judged([0.0, 0.5, 4.0, -4.0], [True, True, True, True])
    sigma = torch.sigmoid(torch.tensor([0.0, 0.5, 4.0, -4.0], dtype=torch.float64))
    close(gradient_weight(KTO(beta=1.0), case), (4 * sigma * (1 - sigma)).tolist())
    assert gradient_weight(KTO(beta=1.0), case)[2] == pytest.approx(FLAT_GRADIENT_WEIGHT, rel=0.002)


def test_a_one_sided_utility_goes_flat_on_its_own_side_alone() -> None:
    case = judged([5.0, -5.0], [True, True])
    up, down = 2 / (1 + 2.718281828459045**-5), 2 / (1 + 2.718281828459045**5)  # slope over that at 0, one half
    close(gradient_weight(KTO(beta=1.0, utility=risk_seeking), case), [up, down])
    close(gradient_weight(KTO(beta=1.0, utility=loss_averse), case), [down, up])
    close(gradient_weight(BCO(beta=1.0), case), [down, up])


def test_what_both_images_of_a_pair_share_is_no_gain_for_dpo_and_takes_no_pull() -> None:
    case = judged([-0.0100, -0.0101])
    close(gain_of(DPO(beta=500.0), case), [0.025, 0.025])
    assert (gradient_weight(DPO(beta=500.0), case) > 0.98).all()
    close(gain_of(DPO(beta=4.0), judged([0.15, -0.10, -0.2, 0.1])), [0.5, 0.5, -0.6, -0.6])


def test_gains_of_kto_and_bco_are_measured_from_the_reference_point() -> None:
    for objective in (KTO(beta=2.0), BCO(beta=2.0)):
        close(gain_of(objective, judged([0.3, 0.1], reference_point=0.2)), [0.2, 0.2])


@pytest.mark.parametrize("objective", [SFT(), CSFT()])
def test_an_objective_without_beta_has_no_gain_and_never_fades(objective: Objective) -> None:
    case = judged([3.0, -3.0])
    assert gain_of(objective, case) is None
    close(gradient_weight(objective, case), [1.0, 1.0])


@pytest.mark.parametrize("kind", [KTO, BCO, DPO])
def test_an_anchor_does_not_hide_that_a_thumb_teaches_nothing_more(kind: Any) -> None:
    case = judged([12.0, -12.0])
    sigma = 1 / (1 + math.exp(-12.0))
    plain, held = (gradient_weight(kind(beta=1.0, anchor=anchor), case) for anchor in (0.0, 60.0))
    # a sigmoid's slope over the quarter that it is at 0; log sigmoid's, over a half, and of a pair half the gap of 24
    at_12 = 4 * sigma * (1 - sigma) if kind is KTO else 2 * (1 - sigma)
    close(plain, [at_12, at_12])
    close(held, [at_12, at_12])
    assert (held < FLAT_GRADIENT_WEIGHT).all()


def test_an_anchor_alone_leaves_a_liked_image_without_a_pull_to_lose() -> None:
    close(gradient_weight(KTO(beta=1.0, liked_weight=0.0, anchor=1.0), judged([3.0, 0.0])), [1.0, 1.0])


def test_rounding_is_no_gain_however_high_beta_is() -> None:
    error = torch.tensor([1.0846533, 0.3271819])
    case = Judged(
        policy_error=error - 1e-4,
        reference_error=error,
        liked=torch.tensor([True, False]),
        weight=torch.ones(2),
        reference_point=torch.tensor(3.3e-5),
    )
    assert gradient_weight(KTO(beta=1e9), case).tolist() == [0.0, 0.0]


def test_asking_leaves_no_gradient_behind() -> None:
    case = judged([0.1, 0.2])
    gradient_weight(KTO(beta=1.0), case)
    assert case.policy_error.grad is None
    with torch.no_grad():
        close(gradient_weight(KTO(beta=1.0), judged([0.0, 0.0])), [1.0, 1.0])
    empty = torch.zeros(0, dtype=torch.float64)
    nothing = Judged(
        policy_error=empty,
        reference_error=empty,
        liked=empty.bool(),
        weight=empty,
        reference_point=case.reference_point,
    )
    assert gradient_weight(KTO(), nothing).shape == (0,)


class Root:
    """Half a loss of one's own, with an infinite slope where nothing was gained."""

    needs = frozenset({"liked"})

    def __call__(self, judged: Judged) -> Tensor:
        return (judged.policy_error - judged.reference_error).clamp(min=0) ** 0.5


def test_a_slope_that_is_no_number_tells_nothing_of_an_image() -> None:
    # by hand: the slope at rest is infinite, and now infinite, and 0.5 / sqrt(0.25) = 1
    close(gradient_weight(Root(), judged([0.0, -0.25], [True, True])), [1.0, 1.0])
