"""Several planes trained at once: one network with a row of weights for each seed, each learning from its own points.

Ten small networks one after another spend their time on calls, not on sums. Here they share every call: the denoiser
of `models.plane` is mapped over stacked weights, and the objectives over stacked errors. Rows never meet: what a seed
learns is what `trainer.train` would have taught it alone from the same batches, and a test holds both to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from thumbtune.models.plane import CENTRE, SCALE, Plane
from thumbtune.objective.kto import Judged, Objective
from thumbtune.objective.reference_point import ReferencePoint
from thumbtune.training.trainer import Settings

Weights = dict[str, Float[Tensor, "s *shape"]]


@dataclass(frozen=True)
class Stack:
    """A batch for each of s planes; `partner` says, within each batch, where the other point of a pair is."""

    latents: Float[Tensor, "s b 2"]
    noise: Float[Tensor, "s b 2"]
    t: Int[Tensor, "s b"]
    liked: Bool[Tensor, "s b"]
    partner: Int[Tensor, "b"] | None = None


class Crowd:
    """s planes. `weights` is in training, `frozen` is the reference."""

    def __init__(self, planes: Sequence[Plane]) -> None:
        self.plane = planes[0]
        states = [dict(plane.denoiser.named_parameters()) for plane in planes]
        stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self.weights: Weights = {name: weight.requires_grad_() for name, weight in stacked.items()}
        self.frozen: Weights = _copy(self.weights)

    def __len__(self) -> int:
        return len(next(iter(self.weights.values())))

    def freeze(self) -> None:
        """Make the present weights the reference."""
        self.frozen = _copy(self.weights)

    def restart(self) -> None:
        """Make the reference the present weights."""
        self.weights = {name: weight.clone().requires_grad_() for name, weight in self.frozen.items()}

    def predict(self, weights: Weights, noisy: Float[Tensor, "s b 2"], t: Int[Tensor, "s b"]) -> Float[Tensor, "s b 2"]:
        """Every plane's guess at the noise of its own points."""
        denoiser = self.plane.denoiser

        def one(row: Mapping[str, Tensor], x: Tensor, time: Tensor) -> Tensor:
            return functional_call(denoiser, dict(row), (x, time))

        return vmap(one)(weights, noisy, t)

    def error(self, weights: Weights, stack: Stack) -> Float[Tensor, "s b"]:
        """`denoising.error` of every plane: the mean squared error of each point."""
        process, shape = self.plane.process, stack.latents.shape
        flat = (stack.latents.flatten(0, 1), stack.noise.flatten(0, 1), stack.t.flatten())
        noisy, target = process.noised(*flat).view(shape), process.target(*flat).view(shape)
        return (self.predict(weights, noisy, stack.t) - target).pow(2).mean(2)

    @torch.no_grad()
    def samples(self, count: int, steps: int, seeds: Sequence[int]) -> Float[Tensor, "s n 2"]:
        """Points of the plane, drawn by each with noise of its own, by the plane's own sampler."""
        drawn = []
        for row, seed in enumerate(seeds):
            self.plane.denoiser.load_state_dict({name: weight[row] for name, weight in self.weights.items()})
            noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
            drawn.append(self.plane.denoise(noise, steps) / SCALE + CENTRE)
        return torch.stack(drawn)


def _copy(weights: Weights) -> Weights:
    return {name: weight.detach().clone() for name, weight in weights.items()}


def latents_of(points: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """Points of the unit square as the plane's latents, without the rounding to an image's 256 shades."""
    return (points - CENTRE) * SCALE


def pretrain(crowd: Crowd, stacks: Iterator[Stack], settings: Settings) -> None:
    """The plain denoising loss, then freeze the reference."""
    optimizer = torch.optim.Adam(crowd.weights.values(), settings.lr)
    for step in range(settings.steps):
        _take(optimizer, settings.lr_at(step), crowd.error(crowd.weights, next(stacks)).mean(1).sum())
    crowd.freeze()


def tune(
    crowd: Crowd,
    stacks: Iterator[Stack],
    objective: Objective,
    reference_points: Sequence[ReferencePoint],
    settings: Settings,
) -> Iterator[int]:
    """`trainer.train` for a crowd: yields the number of steps after each of them."""
    optimizer = torch.optim.AdamW(crowd.weights.values(), settings.lr, weight_decay=settings.weight_decay)
    for step in range(settings.steps):
        loss = losses(crowd, next(stacks), objective, reference_points)
        _take(optimizer, settings.lr_at(step), loss.mean(1).sum(), settings.max_grad_norm)
        yield step + 1


def losses(
    crowd: Crowd, stack: Stack, objective: Objective, reference_points: Sequence[ReferencePoint]
) -> Float[Tensor, "s b"]:
    """One loss for each point, by the objective that any model is trained with."""
    with torch.no_grad():
        reference = crowd.error(crowd.frozen, stack)
    policy = crowd.error(crowd.weights, stack)
    ratios = reference - policy.detach()
    points = []
    for reference_point, ratio, liked in zip(reference_points, ratios, stack.liked, strict=True):
        shown = (ratio, liked) if reference_point.looks_at == "batch" else (None, None)
        points.append(reference_point.before(*shown))
        reference_point.after(ratio, liked)

    def one(policy_error: Tensor, reference_error: Tensor, liked: Tensor, reference_point: Tensor) -> Tensor:
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

    return vmap(one)(policy, reference, stack.liked, torch.tensor(points))


def _take(optimizer: torch.optim.Optimizer, lr: float, loss: Tensor, max_grad_norm: float | None = None) -> None:
    """One update; the gradient is clipped for each plane by its own norm."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    if max_grad_norm is not None:
        _clip([weight for group in optimizer.param_groups for weight in group["params"]], max_grad_norm)
    optimizer.step()


def _clip(weights: Sequence[nn.Parameter | Tensor], most: float) -> None:
    """As `torch.nn.utils.clip_grad_norm_`, a row at a time."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.stack([gradient.flatten(1).pow(2).sum(1) for gradient in gradients]).sum(0).sqrt()
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def paired(stack: Stack) -> Stack:
    """The same with its first half as partners of its second: both points of a pair share noise and time."""
    half = stack.liked.shape[1] // 2
    noise, t = (torch.cat([x[:, :half], x[:, :half]], 1) for x in (stack.noise, stack.t))
    return replace(stack, noise=noise, t=t, partner=torch.arange(2 * half).roll(half))
