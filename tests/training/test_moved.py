"""How far the policy's output has moved from the reference's: by hand, in parts, in two shapes, with its gradient."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from thumbtune.models.noise_levels import elbo
from thumbtune.models.plane import Plane
from thumbtune.models.process import FlowProcess, VPProcess
from thumbtune.objective import KTO, Judged
from thumbtune.training.batch import Batch, Ragged
from thumbtune.training.denoising import error, error_and_moved, reference_error, reference_of
from thumbtune.training.trainer import Training, train

GENERATOR = torch.Generator().manual_seed(11)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]

MakePlane = Callable[..., Any]
MakeBatches = Callable[..., Any]
MakeTraining = Callable[..., Training]


@dataclass(frozen=True)
class Near:
    """Likes are denoised, and every output is pulled to the reference's; it keeps what it was given."""

    needs: frozenset[str] = frozenset({"liked", "disliked"})
    reads: frozenset[str] = frozenset({"moved"})

    def __call__(self, judged: Judged) -> Tensor:
        assert judged.moved is not None
        return judged.weight * (judged.liking * judged.policy_error + 3 * judged.moved)


def gradient(training: Training) -> Tensor:
    """The gradient of the first step, out of AdamW: its first moment is then (1 - 0.9) times the gradient."""
    slots = training.optimizer.state_dict()["state"]
    return torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]) / 0.1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("micro_batch", [8, 3, 1])
def test_a_loss_of_what_has_moved_by_hand(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, micro_batch: int, weighted: bool
) -> None:
    plane = make_plane(drift=0.03)
    if weighted:
        plane.process = VPProcess(plane.process.alphas_cumprod, weighting=elbo)  # type: ignore[attr-defined]
    batches = make_batches(plane, POINTS, RIGHT)
    batch = batches.batch(0)
    noisy = plane.process.noised(batch.latents, batch.noise, batch.t)
    policy, reference = plane.denoiser(noisy, batch.t), plane._frozen(noisy, batch.t).detach()
    weight = elbo(plane.process, batch.t) if weighted else torch.ones(8)  # type: ignore[arg-type]
    losses = batch.liked * weight * ((policy - batch.noise) ** 2).mean(1)
    losses = losses + 3 * weight * ((policy - reference) ** 2).mean(1)
    parts = torch.autograd.grad(losses.mean(), list(plane.denoiser.parameters()))
    expected = torch.cat([part.flatten() for part in parts])

    training = make_training(plane, "zero", micro_batch=micro_batch)
    step = next(train(training, batches, Near()))
    assert step.loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert (gradient(training) - expected).norm() / expected.norm() < 1e-5


def test_only_objectives_that_read_it_get_it(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    given: list[Tensor | None] = []

    class Looking(KTO):
        def __call__(self, judged: Judged) -> Tensor:
            given.append(judged.moved)
            return super().__call__(judged)

    plane = make_plane(drift=0.03)
    next(train(make_training(plane), make_batches(plane, POINTS, RIGHT), Looking(beta=3.0)))
    assert given and all(moved is None for moved in given)


def test_a_broken_image_is_left_out_of_what_has_moved(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(drift=0.03)
    batches = make_batches(plane, POINTS, RIGHT)
    rows = batches.rows(0)
    key = batches.encoded._key_of(rows[2])
    batches.encoded._not_finite[key] = {"latent": torch.full((2,), torch.nan)}
    for micro_batch in (8, 1):
        training = make_training(plane, "zero", steps=1, micro_batch=micro_batch)
        (step,) = train(training, batches, Near())
        assert step.skipped == rows.count(rows[2]) and step.grad_norm is not None


class Convolution(Plane):
    """A network for latents of any shape: a policy and a reference that are one convolution each."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.process = FlowProcess()  # type: ignore[assignment]
        self.policy, self.frozen = (torch.randn(4, 4, 3, 3, generator=generator) for _ in range(2))
        self.policy.requires_grad_()
        self.in_use = self.policy

    def predict(self, noisy: Tensor, t: Tensor, condition: Any) -> Tensor:
        return torch.nn.functional.conv2d(noisy, self.in_use, padding=1)

    @contextmanager
    def reference(self) -> Any:
        self.in_use = self.frozen
        yield
        self.in_use = self.policy


def test_two_shapes_in_a_batch_keep_their_order_and_their_gradients() -> None:
    model: Any = Convolution()
    generator = torch.Generator().manual_seed(2)
    shapes = [(4, 8, 8), (4, 6, 10), (4, 6, 10), (4, 8, 8)]
    latents, noise = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2))
    whole = Batch(
        latents=Ragged(latents),
        condition={},
        noise=Ragged(noise),
        t=torch.tensor([100.0, 300.0, 500.0, 900.0]),
        liked=torch.tensor([True, False, True, False]),
        weight=torch.ones(4),
        paired=True,
    )
    accelerator = Accelerator(cpu=True)
    reference = reference_of(model, whole, accelerator, keep_output=True)
    errors, moved = error_and_moved(model, whole, accelerator, reference)
    assert moved is not None
    assert torch.equal(errors, error(model, whole, accelerator))
    assert torch.equal(reference.error, reference_error(model, whole, accelerator))
    by_hand = []
    for latent, eps, t in zip(latents, noise, whole.t, strict=True):
        noisy = ((1 - t / 1000) * latent + t / 1000 * eps)[None]
        outputs = [torch.nn.functional.conv2d(noisy, weight, padding=1) for weight in (model.policy, model.frozen)]
        by_hand.append((outputs[0] - outputs[1]).pow(2).mean())
    torch.testing.assert_close(moved, torch.stack(by_hand))
    slopes = [torch.autograd.grad(total, model.policy)[0] for total in (moved.sum(), torch.stack(by_hand).sum())]
    torch.testing.assert_close(*slopes)
    keep = torch.tensor([True, True, False, False])  # a pair
    kept, rest = whole.only(keep), reference.only(keep)
    torch.testing.assert_close(error_and_moved(model, kept, accelerator, rest)[1], moved[:2])
