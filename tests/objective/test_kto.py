"""Objectives: losses and gradients by hand, against the official formula, and the properties of the maths."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from thumbtune.objective.baselines import BCO, CSFT, DPO, SFT
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.protocol import Objective
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.objective.utility import UTILITIES, Utility, kahneman_tversky, loss_averse, risk_seeking

# h(u) as the official script writes it: --halo sigmoid, loss_averse and risk_seeking_3 (facts 2.2)
OFFICIAL: dict[Utility, Callable[[Tensor], Tensor]] = {
    kahneman_tversky: torch.sigmoid,
    loss_averse: F.logsigmoid,
    risk_seeking: lambda u: -F.logsigmoid(-u),
}
each_utility = pytest.mark.parametrize("utility", UTILITIES.values(), ids=UTILITIES.keys())
SIZE = 8


def judged(**changes: Any) -> Judged:
    """Eight images, four of them liked, in float64; the policy's errors take gradients."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(2, SIZE, generator=generator, dtype=torch.float64)
    errors[1] += 0.3  # on the whole the policy is better, so that the batch's reference point is above 0
    parts: dict[str, Any] = {
        "policy_error": errors[0],
        "reference_error": errors[1],
        "liked": torch.tensor([True, False, False, True, True, False, True, False]),
        "weight": torch.ones(SIZE, dtype=torch.float64),
        "reference_point": torch.tensor(0.05, dtype=torch.float64),
    } | changes
    parts["policy_error"] = parts["policy_error"].detach().clone().requires_grad_()
    return Judged(**parts)


def two(**changes: Any) -> Judged:
    """A liked image that got better by 0.15 and a disliked one that got worse by 0.10."""
    parts: dict[str, Any] = {
        "policy_error": torch.tensor([0.30, 0.50], dtype=torch.float64),
        "reference_error": torch.tensor([0.45, 0.40], dtype=torch.float64),
        "liked": torch.tensor([True, False]),
        "weight": torch.ones(2, dtype=torch.float64),
    }
    return judged(**(parts | changes))


def slope(objective: Objective, case: Judged) -> Tensor:
    """d (sum of losses) / d policy_error."""
    (gradient,) = torch.autograd.grad(objective(case).sum(), case.policy_error)
    return gradient


def close(actual: Tensor, expected: list[float], atol: float = 1e-6) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), rtol=0, atol=atol)


def test_kto_by_hand_on_two_images() -> None:
    # log_ratio  0.45 - 0.30 = 0.15                        0.40 - 0.50 = -0.10
    # gain      +2 * (0.15 - 0.05) = 0.2                   -2 * (-0.10 - 0.05) = 0.3
    # sigmoid    1 / (1 + e^-0.2) = 0.549834               1 / (1 + e^-0.3) = 0.574443
    # loss       1 - 0.549834 = 0.450166                   1 - 0.574443 = 0.425557
    # slope     +2 * 0.549834 * 0.450166 = 0.495033        -2 * 0.574443 * 0.425557 = -0.488917
    case, objective = two(), KTO(beta=2.0)
    close(case.log_ratio, [0.15, -0.10])
    close(objective.gain(case), [0.2, 0.3])
    close(objective(case), [0.450166, 0.425557])
    close(slope(objective, case), [0.495033, -0.488917])


def test_kto_with_the_other_utilities_by_hand() -> None:
    # loss-averse   1 - log 0.549834 = 1.598139            1 - log 0.574443 = 1.554355
    #   slope      +2 * (1 - 0.549834) = 0.900332          -2 * (1 - 0.574443) = -0.851115
    close(KTO(beta=2.0, utility=loss_averse)(two()), [1.598139, 1.554355])
    close(slope(KTO(beta=2.0, utility=loss_averse), two()), [0.900332, -0.851115])
    # risk-seeking  1 + log 0.450166 = 0.201861            1 + log 0.425557 = 0.145645
    #   slope      +2 * 0.549834 = 1.099668                -2 * 0.574443 = -1.148885
    close(KTO(beta=2.0, utility=risk_seeking)(two()), [0.201861, 0.145645])
    close(slope(KTO(beta=2.0, utility=risk_seeking), two()), [1.099668, -1.148885])


def test_before_the_first_update_kto_pushes_every_image_with_a_quarter_of_beta() -> None:
    # log_ratio 0, gain 0, sigmoid' = 1/4: beta / 4 = 1250 at the paper's 5000
    error = torch.full((2,), 0.2, dtype=torch.float64)
    case = two(policy_error=error, reference_error=error, reference_point=torch.tensor(0.0, dtype=torch.float64))
    close(KTO()(case), [0.5, 0.5])
    close(slope(KTO(), case), [1250.0, -1250.0])


@pytest.mark.parametrize("estimator", ["none", "batch", "mismatched", "balanced"])
@each_utility
def test_kto_is_the_official_formula(utility: Utility, estimator: str) -> None:
    case, beta = judged(), 3.0
    # loss = mean(1 - h(w * beta * (g - kl))) with g = L_ref - L_theta, w = 2 * label - 1 and kl = clamp(mean(g), min=0)
    L_theta = case.policy_error.detach().clone().requires_grad_()
    g = case.reference_error - L_theta
    other_prompts = case.reference_error - case.policy_error.detach().flip(0)
    kl = {
        "none": torch.zeros((), dtype=torch.float64),
        "batch": torch.clamp(g.mean(), min=0),
        "mismatched": other_prompts.mean(),  # --bce_offset original, which the official code does not clamp
        "balanced": (g[case.liked].mean() + g[~case.liked].mean()) / 2,  # --bce_offset sigmoid
    }[estimator].detach()
    u = (2.0 * case.liked - 1) * beta * (g - kl)
    official = (1 - OFFICIAL[utility](u)).mean()
    (official_slope,) = torch.autograd.grad(official, L_theta)

    shown = other_prompts if estimator == "mismatched" else case.log_ratio.detach()
    reference_point = REFERENCE_POINTS["zero" if estimator == "none" else estimator]().before(shown, case.liked)
    assert (reference_point == 0) == (estimator == "none")  # a clamp is open, or this test would compare zeros
    assert estimator == "balanced" or reference_point >= 0
    ours = judged(reference_point=torch.tensor(reference_point, dtype=torch.float64))
    loss = KTO(beta=beta, utility=utility)(ours).mean()
    (our_slope,) = torch.autograd.grad(loss, ours.policy_error)
    assert loss.item() == pytest.approx(official.item(), abs=1e-6)
    torch.testing.assert_close(our_slope, official_slope, rtol=0, atol=1e-6)


@each_utility
def test_kto_lowers_the_error_of_liked_images_and_raises_that_of_disliked_ones(utility: Utility) -> None:
    case = judged()
    gradient = slope(KTO(beta=5.0, utility=utility), case)
    assert (gradient[case.liked] > 0).all()
    assert (gradient[~case.liked] < 0).all()


@each_utility
def test_flipping_the_thumbs_flips_the_gradient(utility: Utility) -> None:
    case = judged()
    flipped = judged(liked=~case.liked)
    objective = KTO(beta=5.0, utility=utility)
    assert torch.equal(slope(objective, case).sign(), -slope(objective, flipped).sign())
    # sigmoid' is even, so Kahneman-Tversky's gradient keeps its size as well
    if utility is kahneman_tversky:
        torch.testing.assert_close(slope(objective, case), -slope(objective, flipped))


def permuted(case: Judged, order: Tensor) -> Judged:
    partner = None if case.partner is None else order.argsort()[case.partner[order]]
    names = ("policy_error", "reference_error", "liked", "weight")
    return judged(
        **{name: getattr(case, name)[order] for name in names}, reference_point=case.reference_point, partner=partner
    )


PARTNERS = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])


every_objective = pytest.mark.parametrize(
    "objective",
    [KTO(beta=3.0), KTO(beta=3.0, anchor=2.0), BCO(beta=3.0), DPO(beta=3.0), SFT(), CSFT()],
    ids=["kto", "anchored", "bco", "dpo", "sft", "csft"],
)


@every_objective
def test_permuting_the_images_permutes_the_losses(objective: Objective) -> None:
    weight = torch.linspace(0.5, 2, SIZE, dtype=torch.float64)
    case = judged(weight=weight, partner=PARTNERS)
    order = torch.tensor([3, 0, 7, 5, 1, 6, 2, 4])
    torch.testing.assert_close(objective(permuted(case, order)), objective(case)[order])
    torch.testing.assert_close(slope(objective, permuted(case, order)), slope(objective, case)[order])


def test_no_gradient_reaches_the_reference_or_the_reference_point() -> None:
    reference = torch.rand(SIZE, dtype=torch.float64, requires_grad=True)
    reference_point = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    for objective in (KTO(beta=3.0), DPO(beta=3.0), SFT()):
        case = judged(reference_error=reference, reference_point=reference_point, partner=PARTNERS)
        inputs = (case.policy_error, reference, reference_point)
        got = torch.autograd.grad(objective(case).sum(), inputs, allow_unused=True)
        assert got[0] is not None and got[1] is None and got[2] is None


def test_a_row_weight_multiplies_its_loss_and_its_gradient() -> None:
    weight = torch.linspace(0, 3, SIZE, dtype=torch.float64)
    for objective in (KTO(beta=3.0), KTO(beta=3.0, anchor=2.0), BCO(beta=3.0), SFT(), CSFT()):
        plain, weighted = judged(), judged(weight=weight)
        torch.testing.assert_close(objective(weighted), weight * objective(plain))
        torch.testing.assert_close(slope(objective, weighted), weight * slope(objective, plain))
    pairs = judged(partner=PARTNERS), judged(weight=weight, partner=PARTNERS)
    torch.testing.assert_close(DPO(beta=3.0)(pairs[1]), weight * DPO(beta=3.0)(pairs[0]))


@every_objective
def test_grades_of_1_and_0_are_thumbs_to_the_last_bit(objective: Objective) -> None:
    weight = torch.linspace(0.5, 2, SIZE, dtype=torch.float64)
    thumbs = judged(weight=weight, partner=PARTNERS)
    graded = judged(weight=weight, partner=PARTNERS, grade=thumbs.liked.double())
    assert torch.equal(objective(graded), objective(thumbs))
    assert torch.equal(slope(objective, graded), slope(objective, thumbs))


@pytest.mark.parametrize(
    "objective", [KTO(beta=3.0, liked_weight=2.0), BCO(beta=3.0), SFT()], ids=["kto", "bco", "sft"]
)
def test_a_grade_is_the_share_of_people_whose_thumb_is_up(objective: Objective) -> None:
    up, down = judged(liked=torch.ones(SIZE).bool()), judged(liked=torch.zeros(SIZE).bool())
    grade = torch.linspace(0, 1, SIZE, dtype=torch.float64)
    mixed = grade * objective(up) + (1 - grade) * objective(down)
    torch.testing.assert_close(objective(judged(grade=grade)), mixed)
    slopes = grade * slope(objective, up) + (1 - grade) * slope(objective, down)
    torch.testing.assert_close(slope(objective, judged(grade=grade)), slopes)


def test_a_pair_is_preferred_as_surely_as_its_grades_differ() -> None:
    # log-ratios 0.15 and -0.10, half of beta 4: margin 0.5; grades 0.8 and 0.4: the first is better in 0.7 of cases
    case = two(partner=torch.tensor([1, 0]), grade=torch.tensor([0.8, 0.4], dtype=torch.float64))
    sigma = 1 / (1 + math.exp(-0.5))
    close(DPO(beta=4.0)(case), [-0.7 * math.log(sigma) - 0.3 * math.log(1 - sigma)] * 2)


def test_an_anchor_adds_the_denoising_error_of_what_is_liked_and_nothing_else() -> None:
    for plain, held in [(KTO(beta=3.0), KTO(beta=3.0, anchor=10.0)), (BCO(beta=3.0), BCO(beta=3.0, anchor=10.0))]:
        close(held(two()) - plain(two()), [10 * 0.30, 0.0])
        close(slope(held, two()) - slope(plain, two()), [10.0, 0.0])
    pair = two(partner=torch.tensor([1, 0]))
    close(DPO(beta=3.0, anchor=10.0)(pair) - DPO(beta=3.0)(pair), [3.0, 0.0])


def test_csft_is_the_denoising_error_of_everything_and_marks_prompts() -> None:
    close(CSFT()(two()), [0.30, 0.50])
    assert CSFT().prompt_prefixes.both("a red apple") == ("good image, a red apple", "bad image, a red apple")
    assert CSFT().prompt_prefixes.both("") == ("", "")  # a dropped prompt says nothing of quality either


def test_a_utility_is_not_asked_about_the_side_that_no_thumb_is_on() -> None:
    def averse(x: Tensor) -> Tensor:  # constant absolute risk aversion: overflows far below 0
        return 1 - torch.exp(-x)

    far = judged(policy_error=torch.zeros(SIZE), reference_error=torch.full((SIZE,), 0.2), weight=torch.ones(SIZE))
    far = judged(
        policy_error=far.policy_error,
        reference_error=far.reference_error,
        weight=far.weight,
        liked=torch.ones(SIZE).bool(),
    )
    objective = KTO(beta=5000.0, utility=averse)
    assert objective(far).isfinite().all() and slope(objective, far).isfinite().all()


def test_the_weights_of_likes_and_dislikes_multiply_their_own_side() -> None:
    case = judged()
    sides = torch.where(case.liked, 2.0, 0.5).double()
    both = KTO(beta=3.0, liked_weight=2.0, disliked_weight=0.5)
    torch.testing.assert_close(both(case), sides * KTO(beta=3.0)(case))


def test_bco_by_hand_and_as_the_official_code_has_it() -> None:
    # gains 2 * (0.3 - 0.1) and -2 * (-0.1 - 0.1), both 0.4: -log sigmoid(0.4) = 0.513015
    case = two(
        policy_error=torch.tensor([0.2, 0.6], dtype=torch.float64),
        reference_error=torch.tensor([0.5, 0.5], dtype=torch.float64),
        reference_point=torch.tensor(0.1, dtype=torch.float64),
    )
    close(BCO(beta=2.0)(case), [0.5130152523999526] * 2)
    # --halo loss_averse: 1 - logsigmoid(u), another constant and the same slope
    averse = KTO(beta=2.0, utility=loss_averse)
    torch.testing.assert_close(averse(case) - BCO(beta=2.0)(case), torch.ones(2, dtype=torch.float64))


def test_dpo_by_hand_on_a_pair() -> None:
    # log-ratios 0.15 of the winner and -0.10 of the loser: margin 0.25; half of beta 4 times it: 0.5
    # loss = -log sigmoid(0.5) = 0.474077 in both rows
    # slope = -(1 - sigmoid(0.5)) * 2 * d margin = 0.377541 * 2 = 0.755081 per row, and each row appears in both losses
    case = two(partner=torch.tensor([1, 0]))
    close(DPO(beta=4.0)(case), [0.474077, 0.474077])
    close(slope(DPO(beta=4.0), case), [1.510162, -1.510162])
    mean = torch.autograd.grad(DPO(beta=4.0)(case).mean(), case.policy_error)[0]
    close(mean, [0.755081, -0.755081])


def test_dpo_is_the_official_formula_for_every_pair() -> None:
    liked = torch.tensor([True, False] * 4)
    case, beta = judged(liked=liked, partner=PARTNERS), 5.0
    Lw, Ll, Rw, Rl = (x[side] for x in (case.policy_error, case.reference_error) for side in (liked, ~liked))
    official = -F.logsigmoid(-0.5 * beta * ((Lw - Ll) - (Rw - Rl)))
    torch.testing.assert_close(DPO(beta=beta)(case)[liked], official, rtol=0, atol=1e-6)
    torch.testing.assert_close(DPO(beta=beta)(case).mean(), official.mean(), rtol=0, atol=1e-6)


def test_dpo_gives_both_rows_of_a_pair_the_same_loss_whichever_comes_first() -> None:
    case = judged(liked=torch.tensor([True, False] * 4), partner=PARTNERS)
    losses = DPO(beta=3.0)(case)
    torch.testing.assert_close(losses, losses[PARTNERS])
    swapped = permuted(case, PARTNERS)
    torch.testing.assert_close(DPO(beta=3.0)(swapped), losses)
    torch.testing.assert_close(slope(DPO(beta=3.0), swapped), slope(DPO(beta=3.0), case)[PARTNERS])


def test_dpo_without_pairs_says_what_to_use_instead() -> None:
    with pytest.raises(ValueError, match="no pairs; use KTO"):
        DPO()(judged())


def test_sft_is_the_denoising_error_of_what_was_liked() -> None:
    close(SFT()(two()), [0.30, 0.0])
    close(slope(SFT(), two()), [1.0, 0.0])
    close(SFT()(two(weight=torch.tensor([3.0, 2.0], dtype=torch.float64))), [0.90, 0.0])


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("objective", [KTO, BCO, DPO])
def test_a_beta_that_is_not_positive_is_refused_with_an_example(objective: Any, beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta must be positive.*try 5000"):
        objective(beta=beta)


def test_what_each_objective_needs() -> None:
    assert KTO().needs == {"liked", "disliked"}
    assert DPO().needs == {"liked", "disliked", "pairs"}
    assert SFT().needs == {"liked"}
    assert CSFT().needs == {"liked", "disliked"}


@every_objective
def test_bfloat16_gives_one_finite_loss_per_image_near_that_of_float64(objective: Objective) -> None:
    exact, names = judged(partner=PARTNERS), ("policy_error", "reference_error", "weight", "reference_point")
    half = {name: getattr(exact, name).detach().to(torch.bfloat16) for name in names}
    case = judged(**half, partner=PARTNERS)
    losses = objective(case)
    assert losses.dtype == torch.bfloat16 and losses.shape == (SIZE,)
    assert slope(objective, case).isfinite().all()
    torch.testing.assert_close(losses.double(), objective(exact), rtol=0, atol=0.02)


@each_utility
def test_no_image_however_far_off_gives_an_infinite_gradient(utility: Utility) -> None:
    # beta 5000 on errors that differ by 1: a gain of +-5000
    far = judged(policy_error=torch.zeros(SIZE), reference_error=torch.linspace(-1, 1, SIZE), weight=torch.ones(SIZE))
    assert KTO(utility=utility)(far).isfinite().all()
    assert slope(KTO(utility=utility), far).isfinite().all()


def test_an_empty_batch_has_no_losses() -> None:
    nothing = torch.zeros(0)
    case = judged(policy_error=nothing, reference_error=nothing, liked=nothing.bool(), weight=nothing)
    assert KTO()(case).shape == (0,)
    assert SFT()(case).shape == (0,)
