"""DiffusionNFT offline: the closed form against the definition, in values and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from thumbtune.objective import NFT, SFT, Judged
from thumbtune.objective.protocol import reads_moved, reads_reference
from thumbtune.objective.saturation import gain_of, gradient_weight
from thumbtune.objective.validation import try_objective
from thumbtune.runs.objectives import advice_of, contrasts, objective_of
from thumbtune.runs.recipe import read_recipe
from thumbtune.training.trainer import Training, train

GENERATOR = torch.Generator().manual_seed(5)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]
LIKED = torch.tensor([True, False, True, False, False, True])
WEIGHT = torch.tensor([1.0, 0.5, 2.0, 1.0, 3.0, 0.1], dtype=torch.float64)
GRADES = torch.tensor([0.9, 0.1, 1.0, 0.0, 0.4, 0.55], dtype=torch.float64)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def direct(policy: Tensor, reference: Tensor, target: Tensor, r: Tensor, b: float) -> Tensor:
    """The definition: r |v+ - y|^2 + (1 - r) |v- - y|^2, divided by b."""
    d = policy - reference
    up = (reference + b * d - target).pow(2).flatten(1).mean(1)
    down = (reference - b * d - target).pow(2).flatten(1).mean(1)
    return (r * up + (1 - r) * down) / b


def judged(policy: Tensor, reference: Tensor, target: Tensor, grade: Tensor | None = None) -> Judged:
    return Judged(
        policy_error=(policy - target).pow(2).flatten(1).mean(1),
        reference_error=(reference - target).pow(2).flatten(1).mean(1),
        moved=(policy - reference).pow(2).flatten(1).mean(1),
        liked=LIKED,
        weight=WEIGHT,
        reference_point=torch.tensor(0.0, dtype=torch.float64),
        grade=grade,
    )


@pytest.mark.parametrize("mix", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("graded", [False, True])
def test_losses_and_gradients_are_those_of_the_definition(mix: float, graded: bool) -> None:
    policy, reference, target = random(6, 4, 3, 3).requires_grad_(), random(6, 4, 3, 3), random(6, 4, 3, 3)
    r = GRADES if graded else LIKED.double()
    expected = WEIGHT * direct(policy, reference, target, r, mix)
    ours = NFT(mix=mix)(judged(policy, reference, target, GRADES if graded else None))
    torch.testing.assert_close(ours, expected)
    slopes = [torch.autograd.grad(loss.sum(), policy, retain_graph=True)[0] for loss in (ours, expected)]
    torch.testing.assert_close(*slopes)
    assert slopes[0].abs().min() > 0


def test_with_a_mix_of_1_likes_have_the_loss_and_gradient_of_sft() -> None:
    policy, reference, target = random(6, 4, 3, 3).requires_grad_(), random(6, 4, 3, 3), random(6, 4, 3, 3)
    case = judged(policy, reference, target)
    ours, theirs = (objective(case)[LIKED] for objective in (NFT(mix=1.0), SFT()))
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(loss.sum(), policy, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes)


def test_the_push_on_a_dislike_ends_at_a_finite_distance() -> None:
    """Its loss is least where ref - b d is the target: d = (ref - target) / b."""
    reference, target = random(6, 4, 3, 3), random(6, 4, 3, 3)
    best = (reference + (reference - target) / 0.5).requires_grad_()
    losses = NFT(mix=0.5)(judged(best, reference, target))
    (slope,) = torch.autograd.grad(losses[~LIKED].sum(), best)
    assert slope.abs().max() < 1e-12
    torch.testing.assert_close(losses[~LIKED], torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    further = judged(reference + 3 * (reference - target), reference, target)
    assert (NFT(mix=0.5)(further)[~LIKED] > 0.1 * WEIGHT[~LIKED]).all()


@pytest.mark.parametrize("micro_batch", [8, 3])
def test_a_training_step_has_the_gradient_of_the_definition(
    make_plane: Callable[..., Any],
    make_batches: Callable[..., Any],
    make_training: Callable[..., Training],
    micro_batch: int,
) -> None:
    plane = make_plane(drift=0.03)
    batches = make_batches(plane, POINTS, RIGHT)
    batch = batches.batch(0)
    noisy = plane.process.noised(batch.latents, batch.noise, batch.t)
    policy, reference = plane.denoiser(noisy, batch.t), plane._frozen(noisy, batch.t).detach()
    losses = direct(policy, reference, batch.noise, batch.liked.float(), 0.5)
    parts = torch.autograd.grad(losses.mean(), list(plane.denoiser.parameters()))
    expected = torch.cat([part.flatten() for part in parts])
    training = make_training(plane, "zero", micro_batch=micro_batch)
    step = next(train(training, batches, NFT(mix=0.5)))
    slots = training.optimizer.state_dict()["state"]
    gradient = torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]) / 0.1  # AdamW's first moment
    assert step.loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert (gradient - expected).norm() / expected.norm() < 1e-5
    assert step.liked_log_ratio is not None and step.beta is None and step.gain is None and step.saturation is None


def test_what_it_needs_and_offers() -> None:
    assert reads_moved(NFT()) and reads_reference(NFT()) and contrasts(NFT())
    try_objective(NFT(), "nft")
    policy, reference, target = random(6, 4, 3, 3).requires_grad_(), random(6, 4, 3, 3), random(6, 4, 3, 3)
    assert gain_of(NFT(), judged(policy, reference, target)) is None
    assert gradient_weight(NFT(), judged(policy, reference, target)).isfinite().all()
    with pytest.raises(ValueError, match="mix must be positive"):
        NFT(mix=0.0)


def test_the_recipe_knows_it() -> None:
    recipe = read_recipe(None, ["objective.name=nft", "objective.mix=0.3"])
    assert objective_of(recipe) == NFT(mix=0.3)
    assert recipe.objective.reference_point == "zero"
    assert "objective.mix" in advice_of(recipe).stay_close
    assert objective_of(read_recipe(None, ["objective.name=nft"])) == NFT()
    for settings, words in (
        (["objective.name=nft", "objective.beta=5"], ["nft", "objective.beta", "choose kto"]),
        (["objective.mix=1"], ["kto", "objective.mix", "0.5", "choose nft"]),
        (["objective.name=sft", "objective.mix=1"], ["sft", "objective.mix", "choose nft"]),
    ):
        with refused("option-unused", naming=words):
            read_recipe(None, settings)
