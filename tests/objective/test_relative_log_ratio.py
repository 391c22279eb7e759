"""Relative log-ratios: gains in units of the reference's error, whatever scales both errors."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from thumbtune.models.noise_levels import elbo
from thumbtune.models.plane import Plane
from thumbtune.models.process import FlowProcess, VPProcess
from thumbtune.objective import KTO, REFERENCE_POINTS, AutoBeta, Judged, gain_of, gradient_weight, relative
from thumbtune.objective.beta import START
from thumbtune.objective.log_ratio import absolute, unit_of
from thumbtune.objective.validation import try_objective
from thumbtune.runs.checks import settings_notes
from thumbtune.runs.monitor import guards_of
from thumbtune.runs.objectives import objective_of
from thumbtune.runs.recipe import read_recipe
from thumbtune.training.guards import SATURATED_STEPS, Advice, Guards
from thumbtune.training.trainer import Training, train

GENERATOR = torch.Generator().manual_seed(5)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]
POLICY = torch.tensor([0.4, 0.006, 0.9, 0.0102], dtype=torch.float64)
REFERENCE = torch.tensor([0.5, 0.005, 1.0, 0.01], dtype=torch.float64)
SHARES = [0.2, -0.2, 0.1, -0.02]

MakePlane = Callable[..., Any]
MakeBatches = Callable[..., Any]
MakeTraining = Callable[..., Training]


def judged(policy: Tensor = POLICY, reference: Tensor = REFERENCE, grade: Tensor | None = None) -> Judged:
    return Judged(
        policy_error=policy.clone().requires_grad_(),
        reference_error=reference,
        liked=torch.tensor([True, False, False, True]),
        weight=torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64),
        reference_point=torch.tensor(0.05, dtype=torch.float64),
        grade=grade,
    )


def test_gains_and_losses_by_hand() -> None:
    gain = [10 * (0.2 - 0.05), -10 * (-0.2 - 0.05), -10 * (0.1 - 0.05), 10 * (-0.02 - 0.05)]
    objective = KTO(beta=10.0, log_ratio=relative)
    torch.testing.assert_close(gain_of(objective, judged()), torch.tensor(gain, dtype=torch.float64))
    losses = judged().weight * (1 - torch.sigmoid(torch.tensor(gain, dtype=torch.float64)))
    torch.testing.assert_close(objective(judged()).detach(), losses)
    grade = judged().liked.double()
    torch.testing.assert_close(objective(judged(grade=grade)).detach(), losses)


@pytest.mark.parametrize("factor", [[25.0, 25.0, 25.0, 25.0], [1.0, 0.02, 7.0, 300.0]])
def test_a_factor_of_both_errors_changes_no_gain_and_no_gradient_of_a_share(factor: list[float]) -> None:
    scale = torch.tensor(factor, dtype=torch.float64)
    objective = KTO(beta=10.0, log_ratio=relative)
    one, other = judged(), judged(POLICY * scale, REFERENCE * scale)
    torch.testing.assert_close(objective(one), objective(other))
    slopes = [torch.autograd.grad(objective(case).sum(), case.policy_error)[0] for case in (one, other)]
    torch.testing.assert_close(slopes[0], slopes[1] * scale)
    torch.testing.assert_close(gradient_weight(objective, one), gradient_weight(objective, other))
    plain = KTO(beta=10.0)
    assert (plain(one) - plain(other)).abs().max() > 0.01  # absolute gains do change


def test_the_gradient_weight_is_the_slope_of_the_utility_alone() -> None:
    objective = KTO(beta=10.0, log_ratio=relative)
    sigma = torch.sigmoid(gain_of(objective, judged()))  # type: ignore[arg-type]
    torch.testing.assert_close(gradient_weight(objective, judged()), 4 * sigma * (1 - sigma))


def test_a_log_ratio_of_one_s_own_is_not_taken_for_the_relative_one() -> None:
    def of_logs(reference_error: Tensor, policy_error: Tensor) -> Tensor:
        return reference_error.log() - policy_error.log()

    objective = KTO(beta=10.0, log_ratio=of_logs)
    sigma = torch.sigmoid(gain_of(objective, judged()))  # type: ignore[arg-type]
    torch.testing.assert_close(gradient_weight(objective, judged()), 4 * sigma * (1 - sigma))
    settings = SimpleNamespace(steps=10, sync_reference_every=0)
    for log_ratio, is_relative in ((of_logs, False), (absolute, False), (relative, True)):
        setup: Any = SimpleNamespace(
            recipe=read_recipe(None), settings=settings, objective=KTO(log_ratio=log_ratio), advice=Advice()
        )
        guards = guards_of(setup, None)
        assert guards is not None and guards.is_relative == is_relative


def test_absolute_is_the_default_bit_for_bit() -> None:
    case = judged(POLICY.float(), REFERENCE.float())
    assert torch.equal(absolute(case.reference_error, case.policy_error), case.log_ratio)
    assert torch.equal(KTO(beta=60.0)(case), KTO(beta=60.0, log_ratio=absolute)(case))
    assert torch.equal(unit_of(absolute, case.reference_error), case.reference_error)
    assert unit_of(relative, case.reference_error).tolist() == [1.0] * 4


def test_a_reference_without_error_gives_a_number() -> None:
    objective = KTO(beta=10.0, log_ratio=relative)
    case = judged(torch.tensor([0.0, 0.1, 0.0, 0.1]), torch.zeros(4))
    case = replace(case, weight=torch.ones(4), reference_point=torch.tensor(0.0))
    assert objective(case).isfinite().all()


@pytest.mark.parametrize("estimator", REFERENCE_POINTS)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
def test_a_step_has_gains_and_a_reference_point_in_shares(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, kind: str, estimator: str
) -> None:
    def made() -> Plane:
        plane = make_plane(drift=0.03)
        if kind != "epsilon":
            flow = FlowProcess(density="uniform", steps=100)
            plane.process = flow if kind == "flow" else replace(plane.process, prediction=kind)  # type: ignore[assignment, type-var]
        return plane

    plane = made()
    batches = make_batches(plane, POINTS, RIGHT)
    batch = batches.batch(0)
    noisy = plane.process.noised(batch.latents, batch.noise, batch.t)
    target = plane.process.target(batch.latents, batch.noise, batch.t)  # type: ignore[arg-type]
    policy, reference = ((net(noisy, batch.t) - target).pow(2).mean(1) for net in (plane.denoiser, plane._frozen))
    ratio = (reference.detach() - policy) / reference.detach()
    free, liked = ratio.detach(), batch.liked
    point = {
        "batch": max(0.0, free.mean().item()),
        "mismatched": max(0.0, free.mean().item()),
        "balanced": (free[liked].mean().item() + free[~liked].mean().item()) / 2,
        "running": 0.125,
        "zero": 0.0,
    }[estimator]
    losses = 1 - torch.sigmoid((2.0 * liked - 1) * 10 * (ratio - point))
    parts = torch.autograd.grad(losses.mean(), list(plane.denoiser.parameters()))
    expected = torch.cat([part.flatten() for part in parts])
    for micro_batch in (8, 3):
        model = made()
        training = make_training(model, estimator, micro_batch=micro_batch)
        training.reference_point.after(torch.tensor([0.125]), torch.tensor([True]))
        step = next(train(training, batches, KTO(beta=10.0, log_ratio=relative)))
        slots = training.optimizer.state_dict()["state"]
        gradient = torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]) / 0.1
        assert (gradient - expected).norm() / expected.norm() < 1e-4
        assert step.reference_point == pytest.approx(point, rel=1e-4, abs=1e-7)
        assert step.loss == pytest.approx(losses.mean().item(), rel=1e-4)
        # the log keeps differences, which guards divide by the reference's mean error
        assert step.liked_log_ratio == pytest.approx((reference - policy)[liked].mean().item(), rel=1e-3)


def test_a_running_point_learns_shares(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(drift=0.03)
    batches = make_batches(plane, POINTS, RIGHT)
    batch = batches.batch(0)
    noisy = plane.process.noised(batch.latents, batch.noise, batch.t)  # type: ignore[arg-type]
    with torch.no_grad():
        policy, reference = (
            (net(noisy, batch.t) - batch.noise).pow(2).mean(1) for net in (plane.denoiser, plane._frozen)
        )  # type: ignore[operator]
    training = make_training(plane, "running", steps=2, lr=1e-9)
    steps = list(train(training, batches, KTO(beta=3.0, log_ratio=relative)))
    share = ((reference - policy) / reference).mean().item()
    assert steps[1].reference_point == pytest.approx(max(0.0, share), rel=1e-4) and share > 0


@pytest.mark.slow
def test_beta_auto_starts_from_shares_and_does_not_see_the_size_of_errors(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    betas = []
    for weighting in (None, elbo, lambda process, t: 1000.0 * elbo(process, t)):
        plane = make_plane(drift=0.01)  # so near that gains are below the range that beta aims at
        plane.process = VPProcess(plane.process.alphas_cumprod, weighting=weighting)  # type: ignore[attr-defined]
        training = make_training(plane, auto=True, steps=12, micro_batch=3)
        steps = train(training, make_batches(plane, POINTS, RIGHT), KTO(beta=1.0, log_ratio=relative))
        betas.append([step.beta for step in steps])
        assert isinstance(training.beta, AutoBeta)
    assert betas[0][0] == START
    assert betas[0][-1] > 1.05 * START  # it follows the gains
    assert betas[1] == pytest.approx(betas[0], rel=1e-3) and betas[2] == pytest.approx(betas[0], rel=1e-3)


def test_the_guard_of_a_too_high_beta_reads_shares() -> None:
    def stop(is_relative: bool, beta: float) -> str | None:
        guards = Guards(planned_steps=1000, batch_size=8, is_relative=is_relative)
        sentence = None
        for step in range(1, SATURATED_STEPS + 1):
            numbers = {"liked_log_ratio": 0.01, "disliked_log_ratio": -0.01, "policy_error": 0.05, "gain": 1e4}
            numbers |= {"reference_error": 0.05, "beta": beta, "saturation": 1.0, "skipped": 0, "synced": False}
            sentence = guards.check(SimpleNamespace(step=step, agreement=None, held_out_liked=None, **numbers))  # type: ignore[arg-type]
        return sentence

    assert stop(False, 30_000.0) is None  # 1,500 times the error
    sentence = stop(True, 30_000.0)
    assert sentence is not None and "beta is too high" in sentence and "3e-05 of the reference's error" in sentence
    assert stop(True, 1_000.0) is None


def test_the_recipe_chooses_it() -> None:
    assert objective_of(read_recipe(None, [])) == KTO(beta=1.0)
    recipe = read_recipe(None, ["objective.log_ratio=relative", "objective.beta=10"])
    assert objective_of(recipe) == KTO(beta=10.0, log_ratio=relative)
    assert settings_notes(recipe) == settings_notes(read_recipe(None, []))
    (note,) = [
        one for one in settings_notes(read_recipe(None, ["objective.log_ratio=relative", "objective.beta=5000"]))
    ]
    assert "objective.beta of 5000" in note and "0.0002 of an error" in note
    paper = ["model=stable-diffusion-v1-5/stable-diffusion-v1-5"]  # whose default beta is the paper's
    assert read_recipe(None, paper).objective.beta == 5000
    assert read_recipe(None, [*paper, "objective.log_ratio=relative"]).objective.beta == "auto"
    for settings, words in (
        (["objective.name=bco", "objective.log_ratio=relative"], ["bco", "objective.log_ratio"]),
        (["objective.log_ratio=relative", "train.timestep_weighting=elbo"], ["train.timestep_weighting", "cancels"]),
    ):
        with refused("option-unused", naming=words):
            read_recipe(None, settings)
    anchored = ["objective.log_ratio=relative", "train.timestep_weighting=elbo", "objective.anchor=0.5"]
    assert read_recipe(None, anchored).train.timestep_weighting == "elbo"
    try_objective(KTO(beta=10.0, log_ratio=relative), "kto")
