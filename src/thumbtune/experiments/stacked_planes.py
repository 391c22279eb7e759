"""Several planes trained at once: one network with a row of weights for each seed, each with points of its own.

Ten small networks one after another spend their time on calls, not on arithmetic. Here they share every call: the
denoiser of `models.plane` is mapped over stacked weights, and the objectives over stacked errors. Rows do not mix:
each seed learns what `trainer.train` would teach it alone from the same batches, and a test compares the two.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from thumbtune.models.plane import CENTRE, SCALE, Plane
from thumbtune.objective.kto import Judged
from thumbtune.objective.protocol import Objective
from thumbtune.objective.reference_point import ReferencePoint
from thumbtune.training.trainer import Settings

Weights = dict[str, Float[Tensor, "s *shape"]]


@dataclass(frozen=True)
class StackedBatch:
    """A batch for each of s planes; `partner` is the index, within each batch, of the other point of a pair."""

    latents: Float[Tensor, "s b 2"]
    noise: Float[Tensor, "s b 2"]
    t: Int[Tensor, "s b"]
    liked: Bool[Tensor, "s b"]
    partner: Int[Tensor, "b"] | None = None


class StackedPlanes:
    """s planes: `weights` are trained, `frozen` is the reference."""

    def __init__(self, planes: Sequence[Plane]) -> None:
        self.plane = planes[0]
        states = [dict(plane.denoiser.named_parameters()) for plane in planes]
        stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self.weights: Weights = {name: weight.requires_grad_() for name, weight in stacked.items()}
        self.frozen: Weights = _copy(self.weights)

    def __len__(self) -> int:
        return len(next(iter(self.weights.values())))

    def freeze(self) -> None:
        """Copy the weights into the reference."""
        self.frozen = _copy(self.weights)

    def restart(self) -> None:
        """Copy the reference into the weights."""
        self.weights = {name: weight.clone().requires_grad_() for name, weight in self.frozen.items()}

    def predict(self, weights: Weights, noisy: Float[Tensor, "s b 2"], t: Int[Tensor, "s b"]) -> Float[Tensor, "s b 2"]:
        """Return each plane's prediction of the noise of its own points."""
        denoiser = self.plane.denoiser

        def predict_one(row: Mapping[str, Tensor], x: Tensor, time: Tensor) -> Tensor:
            return functional_call(denoiser, dict(row), (x, time))

        return vmap(predict_one)(weights, noisy, t)

    def error(self, weights: Weights, stack: StackedBatch) -> Float[Tensor, "s b"]:
        """Return `denoising.error` of each plane: the mean squared error of each point."""
        process, shape = self.plane.process, stack.latents.shape
        flat = (stack.latents.flatten(0, 1), stack.noise.flatten(0, 1), stack.t.flatten())
        noisy, target = process.noised(*flat).view(shape), process.target(*flat).view(shape)
        return (self.predict(weights, noisy, stack.t) - target).pow(2).mean(2)

    @torch.no_grad()
    def samples(self, count: int, steps: int, seeds: Sequence[int]) -> Float[Tensor, "s n 2"]:
        """Return points that each plane generates from noise of its own, by the plane's own sampler."""
        generated = []
        for row, seed in enumerate(seeds):
            self.plane.denoiser.load_state_dict({name: weight[row] for name, weight in self.weights.items()})
            noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
            generated.append(self.plane.denoise(noise, steps) / SCALE + CENTRE)
        return torch.stack(generated)


def _copy(weights: Weights) -> Weights:
    return {name: weight.detach().clone() for name, weight in weights.items()}


def latents_of(points: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """Return points of the unit square as the plane's latents, without rounding to an image's 256 shades."""
    return (points - CENTRE) * SCALE


def pretrain(planes: StackedPlanes, batches: Iterator[StackedBatch], settings: Settings) -> None:
    """Train on the plain denoising loss, then copy the weights into the reference."""
    optimizer = torch.optim.Adam(planes.weights.values(), settings.lr)
    for step in range(settings.steps):
        _update(optimizer, settings.lr_at(step), planes.error(planes.weights, next(batches)).mean(1).sum())
    planes.freeze()


def tune(
    planes: StackedPlanes,
    batches: Iterator[StackedBatch],
    objective: Objective,
    reference_points: Sequence[ReferencePoint],
    settings: Settings,
) -> Iterator[int]:
    """Train as `trainer.train` does; yield the number of steps after each of them."""
    optimizer = torch.optim.AdamW(planes.weights.values(), settings.lr, weight_decay=settings.weight_decay)
    for step in range(settings.steps):
        loss = losses(planes, next(batches), objective, reference_points)
        _update(optimizer, settings.lr_at(step), loss.mean(1).sum(), settings.max_grad_norm)
        yield step + 1


def losses(
    planes: StackedPlanes, stack: StackedBatch, objective: Objective, reference_points: Sequence[ReferencePoint]
) -> Float[Tensor, "s b"]:
    """Return the loss of each point, by the objective that any model is trained with."""
    with torch.no_grad():
        reference = planes.error(planes.frozen, stack)
    policy = planes.error(planes.weights, stack)
    ratios = reference - policy.detach()
    values = []
    for reference_point, ratio, liked in zip(reference_points, ratios, stack.liked, strict=True):
        inputs = (ratio, liked) if reference_point.looks_at == "batch" else (None, None)
        values.append(reference_point.before(*inputs))
        reference_point.after(ratio, liked)

    def loss(policy_error: Tensor, reference_error: Tensor, liked: Tensor, reference_point: Tensor) -> Tensor:
        return objective(
            Judged(
                policy_error=policy_error,
                reference_error=reference_error,
                liked=liked,
                weight=torch.ones_like(reference_error),
                reference_point=reference_point,
                partner=stack.partner,
            )
        )

    return vmap(loss)(policy, reference, stack.liked, torch.tensor(values))


def _update(optimizer: torch.optim.Optimizer, lr: float, loss: Tensor, max_grad_norm: float | None = None) -> None:
    """Take one step of the optimiser; each plane's gradient is clipped by its own norm."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    if max_grad_norm is not None:
        _clip_gradients([weight for group in optimizer.param_groups for weight in group["params"]], max_grad_norm)
    optimizer.step()


def _clip_gradients(weights: Sequence[nn.Parameter | Tensor], max_norm: float) -> None:
    """Clip as `torch.nn.utils.clip_grad_norm_` does, row by row."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.stack([gradient.flatten(1).pow(2).sum(1) for gradient in gradients]).sum(0).sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def paired(stack: StackedBatch) -> StackedBatch:
    """Return the batch with its first half paired with its second; both points of a pair share noise and time."""
    half = stack.liked.shape[1] // 2
    noise, t = (torch.cat([x[:, :half], x[:, :half]], 1) for x in (stack.noise, stack.t))
    return replace(stack, noise=noise, t=t, partner=torch.arange(2 * half).roll(half))
