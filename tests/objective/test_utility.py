"""Utilities: values by hand, gradients against finite differences, and behaviour far from 0."""

import math

import pytest
import torch
from torch import Tensor

from thumbtune.objective.utility import UTILITIES, Utility, kahneman_tversky, loss_averse, risk_seeking

each_utility = pytest.mark.parametrize("utility", UTILITIES.values(), ids=UTILITIES.keys())

# the derivatives, as the paper gives them (section 4.2): where each utility fades
SLOPES = {
    kahneman_tversky: lambda x: torch.sigmoid(x) * torch.sigmoid(-x),
    loss_averse: lambda x: torch.sigmoid(-x),
    risk_seeking: torch.sigmoid,
}


def slope(utility: Utility, at: Tensor) -> Tensor:
    x = at.detach().clone().requires_grad_()
    utility(x).sum().backward()
    assert x.grad is not None
    return x.grad


def test_values_by_hand() -> None:
    # sigmoid(log 3) = 3 / (1 + 3); sigmoid(-log 3) = 1 / 4; sigmoid(0) = 1 / 2
    gain = torch.tensor([-math.log(3), 0.0, math.log(3)], dtype=torch.float64)
    quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    torch.testing.assert_close(kahneman_tversky(gain), quarters)
    torch.testing.assert_close(loss_averse(gain), quarters.log())
    # -log sigmoid(-x): the same, with the gain's sign and the value's sign turned
    torch.testing.assert_close(risk_seeking(gain), -quarters.flip(0).log())


def test_the_three_names_of_recipes_are_those_of_the_paper() -> None:
    assert list(UTILITIES) == ["kahneman-tversky", "loss-averse", "risk-seeking"]


@each_utility
def test_a_larger_gain_is_worth_more(utility: Utility) -> None:
    values = utility(torch.linspace(-15, 15, 301, dtype=torch.float64))
    assert (values.diff() > 0).all()


def test_loss_averse_is_concave_risk_seeking_convex_and_kahneman_tversky_turns_at_0() -> None:
    x = torch.linspace(-6, 6, 121, dtype=torch.float64)
    losses, gains = x[:-2] < -0.11, x[2:] > 0.11  # second differences that lie on one side of 0
    assert (loss_averse(x).diff(n=2) < 0).all()
    assert (risk_seeking(x).diff(n=2) > 0).all()
    assert (kahneman_tversky(x).diff(n=2)[losses & (x[2:] <= 0)] > 0).all()
    assert (kahneman_tversky(x).diff(n=2)[gains & (x[:-2] >= 0)] < 0).all()


@each_utility
def test_gradients_are_those_of_finite_differences(utility: Utility) -> None:
    x = torch.linspace(-5, 5, 21, dtype=torch.float64)
    assert torch.autograd.gradcheck(utility, x.clone().requires_grad_())
    h = 1e-6
    central = (utility(x + h) - utility(x - h)) / (2 * h)
    torch.testing.assert_close(slope(utility, x), central, rtol=1e-7, atol=1e-9)


@each_utility
def test_gradients_are_those_of_the_paper(utility: Utility) -> None:
    x = torch.linspace(-20, 20, 41, dtype=torch.float64)
    torch.testing.assert_close(slope(utility, x), SLOPES[utility](x))


@each_utility
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (1, 2, 3, 4)])
def test_shapes_are_kept(utility: Utility, shape: tuple[int, ...]) -> None:
    assert utility(torch.zeros(shape)).shape == shape


@each_utility
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_gains_give_finite_values_and_gradients_in_their_own_dtype(utility: Utility, dtype: torch.dtype) -> None:
    gain = torch.tensor([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4], dtype=dtype)
    assert utility(gain).dtype == dtype
    assert utility(gain).isfinite().all()
    assert slope(utility, gain).isfinite().all()
    assert (slope(utility, gain) >= 0).all()
