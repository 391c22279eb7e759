"""Training on the plane: gradients that add up, steps that are what they say, broken images that do no harm."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from PIL.Image import Image, fromarray
from refusals import refused
from torch import Tensor

from thumbtune.models.plane import CENTRE, SCALE, Plane
from thumbtune.models.process import Latents
from thumbtune.objective.baselines import SFT
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.objective.utility import UTILITIES
from thumbtune.training.batch import Batch
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.step import Step
from thumbtune.training.trainer import PATIENCE, MemoryRanOut, Settings, Training, train

DRIFT = 0.03  # how far off the reference is: the policy is the better one, so that reference points are above 0
BETA = 3.0
GENERATOR = torch.Generator().manual_seed(11)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]
AT_THE_EDGE = (1.0, 0.5)  # a point that `Breaking` cannot encode

MakePlane = Callable[..., Plane]
MakeBatches = Callable[..., Batches]
MakeTraining = Callable[..., Training]


class Breaking(Plane):
    """A Plane whose encoder gives NaN for images at the right edge of the square."""

    def encode(self, images: Sequence[Image]) -> Latents:
        latents = super().encode(images)
        latents[latents[:, 0] >= (1 - CENTRE) * SCALE] = math.nan
        return latents


def weights(model: Plane) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.denoiser.parameters()])


def gradient(training: Training) -> Tensor:
    """The gradient of the first step, out of AdamW: its first moment is then (1 - 0.9) times the gradient."""
    slots = training.optimizer.state_dict()["state"]
    return torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]) / 0.1


def without_time(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [{name: value for name, value in step.as_dict().items() if name != "seconds"} for step in steps]


def errors_by_hand(plane: Plane, batch: Batch, network: Any) -> Tensor:
    """mean((eps_theta(sqrt(abar) x + sqrt(1 - abar) eps, t) - eps)^2) of each point."""
    alpha = plane.process.alphas_cumprod[batch.t][:, None]
    noisy = alpha.sqrt() * batch.latents + (1 - alpha).sqrt() * batch.noise
    return ((network(noisy, batch.t) - batch.noise) ** 2).mean(1)


def reference_point_by_hand(estimator: str, ratio: Tensor, liked: Tensor) -> float:
    """After `reference_point.after` of 0.125 alone; the plane ignores prompts, so that others change nothing."""
    of_all = max(0.0, ratio.mean().item())
    balanced = (ratio[liked].mean().item() + ratio[~liked].mean().item()) / 2
    return {"batch": of_all, "mismatched": of_all, "balanced": balanced, "running": 0.125, "zero": 0.0}[estimator]


@pytest.mark.parametrize(("weight", "teaches"), [(1e-20, True), (1e-30, False)])
def test_images_whose_gradient_has_vanished_cost_no_denormal_numbers(
    weight: float, teaches: bool, make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(drift=DRIFT)
    batches = make_batches(plane, POINTS, RIGHT, weights=[weight] * len(POINTS))
    training = make_training(plane)
    step = next(train(training, batches, KTO(beta=BETA)))
    assert (step.grad_norm == 0.0) is not teaches
    assert gradient(training).any() == teaches


def test_the_loop_in_the_design_gives_the_weights_of_the_trainer_bit_for_bit(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "design.md").read_text()
    (loop,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(loop[loop.index("def train") :].splitlines()) <= 21
    names: dict[str, Any] = {"torch": torch, "Judged": Judged}
    exec(loop, names)
    theirs, ours = make_plane(drift=DRIFT), make_plane(drift=DRIFT)
    training = make_training(theirs, micro_batch=8, steps=5, max_grad_norm=1.0, weight_decay=0.01)
    objective = KTO(beta=BETA)
    list(train(training, make_batches(theirs, POINTS, RIGHT), objective))
    names["train"](ours, make_batches(ours, POINTS, RIGHT), objective, training.settings.steps, training.settings.lr)
    assert torch.equal(weights(theirs), weights(ours))
    assert not torch.equal(weights(ours), weights(make_plane(drift=DRIFT)))


# --- one step, by hand ----------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", REFERENCE_POINTS)
@pytest.mark.parametrize("utility", UTILITIES)
def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch_written_out_by_hand(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, utility: str, estimator: str
) -> None:
    row_weights = [0.5 + i / 20 for i in range(len(POINTS))]
    plane = make_plane(drift=DRIFT)
    batches = make_batches(plane, POINTS, RIGHT, weights=row_weights)
    objective = KTO(beta=BETA, utility=UTILITIES[utility], liked_weight=1.5)

    batch = batches.batch(0)
    policy = errors_by_hand(plane, batch, plane.denoiser)
    reference = errors_by_hand(plane, batch, plane._frozen)
    ratio = reference - policy
    reference_point = reference_point_by_hand(estimator, ratio, batch.liked)
    assert estimator == "zero" or abs(reference_point) > 0.001
    sign = 2.0 * batch.liked - 1
    losses = (
        batch.weight
        * torch.where(batch.liked, 1.5, 1.0)
        * (1 - UTILITIES[utility](sign * BETA * (ratio - reference_point)))
    )
    parts = torch.autograd.grad(losses.mean(), list(plane.denoiser.parameters()))
    expected = torch.cat([part.flatten() for part in parts])

    for micro_batch in (8, 4, 3, 2, 1):
        model = make_plane(drift=DRIFT)
        training = make_training(model, estimator, micro_batch=micro_batch)
        training.reference_point.after(torch.tensor([0.125]), torch.tensor([True]))
        step = next(train(training, batches, objective))
        difference = (gradient(training) - expected).norm() / expected.norm()
        assert difference < 1e-5, f"parts of {micro_batch}"
        assert step.reference_point == pytest.approx(reference_point, rel=1e-5)
        assert step.loss == pytest.approx(losses.mean().item(), rel=1e-5)
        assert step.grad_norm == pytest.approx(expected.norm().item(), rel=1e-5)


@pytest.mark.slow
def test_the_mismatched_point_is_that_of_other_prompts_for_a_model_that_reads_them(
    make_diffusion: Callable[..., Any],
    make_likes: Callable[..., Any],
    make_training: MakeTraining,
    perturb: Callable[..., None],
    tmp_path: Path,
) -> None:
    """The plane ignores prompts; here the reference point, and so the gradient, is another than the batch's own."""
    random = np.random.default_rng(0)
    images = [fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(8)]
    likes = make_likes(images, [True, False] * 4, prompts=list("aabcdefg"))

    def made() -> tuple[Any, Batches]:
        model = make_diffusion()
        perturb(model, by=0.3, seed=3)  # one that is better than the reference, so that the points are above 0
        encoded = Encoded(likes, model, Cache(tmp_path / "cache")).fill()
        return model, Batches(encoded=encoded, process=model.process, size=8, liked_share=0.5)

    model, batches = made()
    batch, drawn = batches.batch(0), [batches.encoded.prompts[row] for row in batches.rows(0)]
    others = [next(p for p in drawn[i + 1 :] + drawn[:i] if p != prompt) for i, prompt in enumerate(drawn)]
    alpha = model.pipeline.scheduler.alphas_cumprod[batch.t][:, None, None, None]
    noisy = alpha.sqrt() * batch.latents + (1 - alpha).sqrt() * batch.noise

    def errors(prompts: list[str]) -> Tensor:
        out = model.pipeline.unet(noisy, batch.t, model.embed(prompts)["text"]).sample
        return ((out - batch.noise) ** 2).mean((1, 2, 3))

    def ratio(prompts: list[str]) -> Tensor:
        with torch.no_grad(), model.reference():
            reference = errors(prompts)
        return reference - errors(prompts)

    of_others, own = (max(0.0, ratio(prompts).mean().item()) for prompts in (others, drawn))
    assert of_others > 0 and abs(of_others / own - 1) > 0.01
    gain = (2.0 * batch.liked - 1) * 100.0 * (ratio(drawn) - of_others)
    parts = torch.autograd.grad((1 - gain.sigmoid()).mean(), [weight for _, weight in model.trainable()])
    expected = torch.cat([part.flatten() for part in parts])
    for micro_batch in (8, 2):
        model, batches = made()
        training = make_training(model, "mismatched", micro_batch=micro_batch)
        step = next(train(training, batches, KTO(beta=100.0)))
        assert step.reference_point == pytest.approx(of_others, rel=1e-4), f"parts of {micro_batch}"
        assert (gradient(training) - expected).norm() / expected.norm() < 1e-4, f"parts of {micro_batch}"


def test_judging_each_part_by_its_own_mean_would_give_another_gradient(
    make_plane: MakePlane, make_batches: MakeBatches
) -> None:
    """The fault of peers that the two passes avoid: were it small, the test above would prove nothing."""
    plane = make_plane(drift=DRIFT)
    batch = make_batches(plane, POINTS, RIGHT).batch(0)
    with torch.no_grad():
        reference = errors_by_hand(plane, batch, plane._frozen)

    def of(reference_point: Callable[[Tensor], Tensor]) -> Tensor:
        ratio = reference - errors_by_hand(plane, batch, plane.denoiser)
        gain = (2.0 * batch.liked - 1) * BETA * (ratio - reference_point(ratio.detach()).clamp(min=0))
        parts = torch.autograd.grad((1 - gain.sigmoid()).mean(), list(plane.denoiser.parameters()))
        return torch.cat([part.flatten() for part in parts])

    whole = of(lambda ratio: ratio.mean().expand(8))
    pairs = of(lambda ratio: ratio.view(4, 2).mean(1).repeat_interleave(2))
    assert (whole - pairs).norm() / whole.norm() > 0.01


@pytest.mark.parametrize("micro_batch", [8, 3])
def test_a_step_says_what_happened_by_hand(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, micro_batch: int
) -> None:
    plane = make_plane(drift=DRIFT)
    batches = make_batches(plane, POINTS, RIGHT)
    batch, beta = batches.batch(0), 40.0
    with torch.no_grad():
        policy = errors_by_hand(plane, batch, plane.denoiser)
        reference = errors_by_hand(plane, batch, plane._frozen)
    ratio = reference - policy
    reference_point = max(0.0, ratio.mean().item())
    gain = (2.0 * batch.liked - 1) * beta * (ratio - reference_point)

    training = make_training(plane, "batch", micro_batch=micro_batch, lr=3e-4)
    step = next(train(training, batches, KTO(beta=beta)))
    assert training.step == step.step == 1
    assert step.loss == pytest.approx((1 - gain.sigmoid()).mean().item(), rel=1e-4)
    assert step.liked_log_ratio == pytest.approx(ratio[batch.liked].mean().item(), rel=1e-4)
    assert step.disliked_log_ratio == pytest.approx(ratio[~batch.liked].mean().item(), rel=1e-4)
    assert step.reference_point == pytest.approx(reference_point, rel=1e-4)
    assert step.policy_error == pytest.approx(policy.mean().item(), rel=1e-5)
    assert step.reference_error == pytest.approx(reference.mean().item(), rel=1e-5)
    saturated = int((gain.abs() > 4).sum())  # where a sigmoid has 7% of its slope at 0
    assert 0 < saturated < 8  # or the next line would hold for any share
    assert step.saturation == saturated / 8
    assert step.grad_norm == pytest.approx(gradient(training).norm().item(), rel=1e-5)
    assert step.lr == 3e-4
    assert step.skipped == 0
    assert step.seconds > 0
    assert json.loads(json.dumps(step.as_dict())) == step.as_dict()


def test_means_of_a_side_that_a_batch_does_not_hold_are_none(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    step = next(train(make_training(plane), make_batches(plane, POINTS, RIGHT, liked_share=1.0), SFT()))
    assert step.disliked_log_ratio is None and step.liked_log_ratio is not None
    assert step.saturation is None  # SFT has no beta, so no gain


def test_before_the_first_update_the_policy_is_the_reference(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    step = next(train(make_training(plane), make_batches(plane, POINTS, RIGHT), KTO(beta=BETA)))
    assert step.loss == 0.5
    assert step.liked_log_ratio == step.disliked_log_ratio == step.reference_point == 0


# --- optimising -----------------------------------------------------------------------------------


def test_the_learning_rate_warms_up_linearly_and_stays() -> None:
    settings = Settings(steps=9, micro_batch=1, lr=0.4, warmup=4)
    assert [settings.lr_at(step) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert Settings(steps=9, micro_batch=1, lr=0.4).lr_at(0) == 0.4


def test_the_optimiser_uses_the_learning_rate_that_the_step_reports(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    training = make_training(plane, lr=1e-3, warmup=4, steps=5)
    before = weights(plane)
    reported = []
    for step in train(training, make_batches(plane, POINTS, RIGHT), KTO(beta=BETA)):
        reported.append(step.lr)
        if step.step == 1:  # Adam's first update moves every weight by about its learning rate
            assert (weights(plane) - before).abs().max().item() == pytest.approx(1e-3 / 4, rel=0.01)
    assert reported == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])


def test_the_gradient_is_clipped_as_a_whole_and_reported_before_clipping(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    free, clipped = (make_training(make_plane(drift=DRIFT), max_grad_norm=norm) for norm in (math.inf, 1e-3))
    for training in (free, clipped):
        step = next(train(training, make_batches(training.model, POINTS, RIGHT), KTO(beta=BETA)))
        assert step.grad_norm == pytest.approx(gradient(free).norm().item())
    torch.testing.assert_close(gradient(clipped), gradient(free) * 1e-3 / gradient(free).norm(), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("estimator", REFERENCE_POINTS)
def test_two_runs_are_identical(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, estimator: str
) -> None:
    ends, logs = [], []
    for _ in range(2):
        plane = make_plane()
        training = make_training(plane, estimator, steps=6, micro_batch=3)
        torch.rand(5)  # the state of the global generator does not matter
        logs.append(without_time(list(train(training, make_batches(plane, POINTS, RIGHT), KTO(beta=BETA)))))
        ends.append(weights(plane))
    assert torch.equal(*ends)
    assert logs[0] == logs[1]
    assert [step["step"] for step in logs[0]] == [1, 2, 3, 4, 5, 6]


def test_training_moves_the_policy_and_never_the_reference(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    before = weights(plane)
    frozen = [weight.clone() for weight in plane._frozen.parameters()]
    list(train(make_training(plane, steps=3), make_batches(plane, POINTS, RIGHT), KTO(beta=BETA)))
    assert not torch.equal(weights(plane), before)
    assert all(torch.equal(a, b) for a, b in zip(frozen, plane._frozen.parameters(), strict=True))


def test_running_learns_from_every_batch(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(drift=DRIFT)
    training = make_training(plane, "running", steps=2, lr=1e-9)
    batches = make_batches(plane, POINTS, RIGHT)
    with torch.no_grad():
        batch = batches.batch(0)
        ratio = errors_by_hand(plane, batch, plane._frozen) - errors_by_hand(plane, batch, plane.denoiser)
    steps = list(train(training, batches, KTO(beta=BETA)))
    assert steps[0].reference_point == 0
    assert steps[1].reference_point == pytest.approx(max(0.0, ratio.mean().item()), rel=1e-4)


# --- what breaks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", REFERENCE_POINTS)
@pytest.mark.parametrize("micro_batch", [8, 3, 1])
def test_a_broken_image_is_left_out_and_counted_and_changes_nothing_else(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, micro_batch: int, estimator: str
) -> None:
    points = [AT_THE_EDGE, *POINTS[1:12]]
    plane = make_plane(Breaking, drift=DRIFT)
    batches = make_batches(plane, points, RIGHT[:12], size=16)
    batch = batches.batch(0)
    whole = batch.only(batch.latents.isfinite().all(1))
    broken = 16 - len(whole)
    assert 0 < broken < 8

    policy = errors_by_hand(plane, whole, plane.denoiser)
    ratio = errors_by_hand(plane, whole, plane._frozen) - policy
    reference_point = reference_point_by_hand(estimator, ratio, whole.liked)
    losses = 1 - torch.sigmoid((2.0 * whole.liked - 1) * BETA * (ratio - reference_point))
    parts = torch.autograd.grad(losses.sum() / 16, list(plane.denoiser.parameters()))
    expected = torch.cat([part.flatten() for part in parts])

    training = make_training(plane, estimator, micro_batch=micro_batch)
    training.reference_point.after(torch.tensor([0.125]), torch.tensor([True]))
    step = next(train(training, batches, KTO(beta=BETA)))
    assert step.skipped == broken
    assert step.reference_point == pytest.approx(reference_point, rel=1e-5)
    assert step.loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert (gradient(training) - expected).norm() / expected.norm() < 1e-5
    assert weights(plane).isfinite().all()


@pytest.mark.parametrize("estimator", REFERENCE_POINTS)
def test_batches_of_broken_images_only_stop_the_training_and_leave_the_weights_alone(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, estimator: str
) -> None:
    plane = make_plane(Breaking)
    training = make_training(plane, estimator, steps=20, micro_batch=4)
    training.reference_point.after(torch.tensor([0.125]), torch.tensor([True]))
    was, state = weights(plane), training.reference_point.state()
    steps = []
    with refused("training-broke", naming=[f"step {PATIENCE}: {PATIENCE} steps in a row", "lower train.lr"]):
        for step in train(training, make_batches(plane, [AT_THE_EDGE] * 4, [True, False] * 2), KTO(beta=BETA)):
            steps.append(step)
    assert len(steps) == PATIENCE - 1
    assert all(step.skipped == 8 and step.loss is None and step.grad_norm is None for step in steps)
    assert all(json.loads(json.dumps(step.as_dict(), allow_nan=False)) for step in steps)
    assert torch.equal(weights(plane), was)
    assert training.reference_point.state() == state


def test_broken_steps_now_and_then_do_not_stop_the_training(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(Breaking)
    # one image a step, drawn from eight of which two are broken
    batches = make_batches(plane, [*[AT_THE_EDGE] * 2, *POINTS[:6]], [True, False] * 4, size=1)
    steps = list(train(make_training(plane, steps=16), batches, KTO(beta=BETA)))
    broken = [step for step in steps if step.skipped]
    assert len(steps) == 16 and 1 < len(broken) < 10
    assert all((step.grad_norm is None) == bool(step.skipped) for step in steps)
    assert weights(plane).isfinite().all()


class Cliff(SFT):
    """An objective with finite losses and a gradient that is not: the slope of sqrt at 0."""

    def __call__(self, judged: Judged) -> Tensor:
        return judged.policy_error + (judged.policy_error * 0).sqrt()


def test_a_gradient_that_is_not_finite_leaves_the_weights_and_the_optimiser_alone(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    training = make_training(plane)
    before = weights(plane)
    step = next(train(training, make_batches(plane, POINTS, RIGHT), Cliff()))
    assert step.grad_norm is None and step.loss is not None and math.isfinite(step.loss)
    assert torch.equal(weights(plane), before)
    assert training.optimizer.state_dict()["state"] == {}
    next(train(training, make_batches(plane, POINTS, RIGHT), SFT()))
    assert weights(plane).isfinite().all() and not torch.equal(weights(plane), before)


# --- the story ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False], ids=["the right half", "the left half"])
def test_liking_one_half_of_the_plane_moves_new_samples_there(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, right: bool
) -> None:
    plane = make_plane()
    liked = [(x > 0.5) == right for x, _ in POINTS]
    training = make_training(plane, steps=40, micro_batch=24, lr=3e-3, max_grad_norm=1.0)
    steps = list(train(training, make_batches(plane, POINTS, liked, size=24), KTO(beta=10.0)))
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tuned = plane.denoise(noise, 20)[:, 0] > 0
        with plane.reference():
            base = plane.denoise(noise, 20)[:, 0] > 0
    assert 0.35 < base.double().mean() < 0.65
    share = (tuned == right).double().mean().item()
    assert share > 0.85, f"{share:.0%} of the samples lie on the liked side"
    last = steps[-10:]
    assert sum(s.liked_log_ratio - s.disliked_log_ratio for s in last if s.liked_log_ratio and s.disliked_log_ratio) > 0


class Full(Plane):
    """A Plane for which memory ends once, in the second part of its third step, while it learns."""

    def predict(self, *noisy: Any) -> Any:
        self.asked = getattr(self, "asked", 0) + torch.is_grad_enabled()
        if self.asked == 6 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().predict(*noisy)


def test_memory_that_runs_out_is_one_sentence_and_spoils_no_later_step(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    ends = []
    for kind in (Full, Plane):
        plane = make_plane(kind)
        training, batches = make_training(plane, steps=4, micro_batch=4), make_batches(plane, POINTS, RIGHT)
        steps = train(training, batches, KTO(beta=BETA))
        if kind is Full:
            kept = [weights(plane) for _, _ in zip(range(2), steps, strict=False)][-1]
            with refused("memory-ran-out", MemoryRanOut, naming=["step 3", "4 images", "--resume", "micro_batch"]):
                next(steps)
            assert training.step == 2
            assert torch.equal(weights(plane), kept)
            steps = train(training, batches, KTO(beta=BETA))
        list(steps)
        ends.append(weights(plane))
    assert torch.equal(*ends)


class Small(Plane):
    """A Plane whose memory holds three images at most while it learns."""

    def predict(self, noisy: Tensor, *rest: Any) -> Any:
        if torch.is_grad_enabled() and len(noisy) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().predict(noisy, *rest)


@pytest.mark.slow
def test_parts_become_smaller_until_memory_holds_them_and_no_step_is_lost(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    ends = []
    for kind, size, halve in ((Small, 16, True), (Plane, 2, False)):
        plane = make_plane(kind)
        training = make_training(plane, steps=4, micro_batch=size, halve_parts=halve)
        batches = make_batches(plane, POINTS, RIGHT)
        assert [step.step for step in train(training, batches, KTO(beta=BETA))] == [1, 2, 3, 4]
        assert training.settings.micro_batch == 2
        ends.append(weights(plane))
    assert torch.equal(*ends)


@pytest.mark.slow
def test_one_image_that_is_too_much_is_refused(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    class Tiny(Plane):
        """A Plane whose memory holds no image while it learns."""

        def predict(self, *noisy: Any) -> Any:
            if torch.is_grad_enabled():
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
            return super().predict(*noisy)

    plane = make_plane(Tiny)
    training = make_training(plane, steps=4, micro_batch=8, halve_parts=True)
    with refused("memory-ran-out", MemoryRanOut, naming=["step 1", "1 image at once"]):
        list(train(training, make_batches(plane, POINTS, RIGHT), KTO(beta=BETA)))
    assert training.step == 0


class NoNumber(SFT):
    """An objective of a user that gives NaN for finite errors."""

    def __call__(self, judged: Judged) -> Tensor:
        return judged.policy_error * math.nan


def test_losses_that_are_no_numbers_are_counted_and_never_logged(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    was = weights(plane)
    step = next(train(make_training(plane), make_batches(plane, POINTS, RIGHT), NoNumber()))
    assert step.loss is None and step.grad_norm is None and step.skipped == 8
    assert torch.equal(weights(plane), was)


class Root(SFT):
    """An objective of a user: finite losses, and an infinite slope as long as the policy is the reference."""

    def __call__(self, judged: Judged) -> Tensor:
        return (judged.policy_error - judged.reference_error) ** 0.5


def test_an_image_whose_loss_is_sound_is_not_skipped_for_its_slope(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    step = next(train(make_training(plane), make_batches(plane, POINTS, RIGHT), Root()))
    assert (step.skipped, step.loss, step.grad_norm) == (0, 0.0, None)


class Half(Breaking):
    """A Plane whose output has its gradient in fp16, as a network under autocast: above 65,504 it is infinite."""

    def predict(self, *noisy: Any) -> Any:
        out = super().predict(*noisy)
        if out.requires_grad:
            out.register_hook(lambda slope: slope.half().float())
        return out


def scaled(training: Training) -> tuple[Training, torch.amp.GradScaler]:
    """The training with torch's own scaler, as Accelerate gives it to fp16 on a GPU."""
    scaler = torch.amp.GradScaler("cpu")
    training.accelerator.scaler = scaler
    training.optimizer = AcceleratedOptimizer(training.optimizer.optimizer, scaler=scaler)
    # Accelerate does so for fp16 alone, which it refuses on a CPU
    training.accelerator.unscale_gradients = lambda optimizer=None: scaler.unscale_(training.optimizer.optimizer)
    return training, scaler


@pytest.mark.parametrize("empty", [True, False])
def test_the_scaler_of_half_precision_sees_gradients_and_nothing_else(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, empty: bool
) -> None:
    """torch's GradScaler fails where it is asked to step without a gradient, and must see those that overflow."""
    plane = make_plane(Half)
    points = [AT_THE_EDGE] * 4 if empty else POINTS[:4]
    training, scaler = scaled(make_training(plane))
    step = next(train(training, make_batches(plane, points, [True, False] * 2), KTO(beta=5000.0)))
    assert step.grad_norm is None
    assert scaler.get_scale() == (65536 if empty else 32768)
    assert training.broken == (1 if empty else 0)


def test_a_scale_of_half_precision_that_must_fall_far_breaks_no_training(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(Half)
    before = weights(plane)
    training, scaler = scaled(make_training(plane, steps=20, max_grad_norm=1.0))
    steps = list(train(training, make_batches(plane, POINTS, RIGHT), KTO(beta=5000.0)))
    skipped = [step.step for step in steps if step.grad_norm is None]
    assert skipped == list(range(1, len(skipped) + 1)) and PATIENCE < len(skipped) < 16
    assert scaler.get_scale() == 65536 / 2 ** len(skipped)
    assert training.broken == 0 and not torch.equal(weights(plane), before) and weights(plane).isfinite().all()


def test_gradients_that_no_scale_makes_finite_stop_a_training_in_half_precision(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(Half)
    before = weights(plane)
    training, _ = scaled(make_training(plane, steps=40))
    # 15 halvings lead to 2; the sixteenth to 1, and from there on steps count
    with refused("training-broke", naming=f"step {15 + PATIENCE}: {PATIENCE} steps in a row"):
        list(train(training, make_batches(plane, POINTS, RIGHT), Cliff()))
    assert torch.equal(weights(plane), before)
