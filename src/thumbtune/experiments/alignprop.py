"""AlignProp: back-propagate a reward through the last steps of sampling into a LoRA (Prabhudesai et al., 2310.03739).

    maximise  E_{c, x_T} [ r(D(x_0)) ],      x_{t-1} = s_t(x_t, e(x_t, t, c)),   t = T .. 1

e   the guided output u + g (c - u) of the network with its LoRA, at one noise level
s   a step of the scheduler (DDIM here)                D   the decoder                r   a differentiable reward

The gradient goes through the last K of the T steps; what they begin from is a constant. Each kept step is checkpointed:
its network runs again in the backward pass, so that memory does not grow with K. On a ground the reward is the log-odds
of the wanted style by the small network, which also gives the labels. The judge's network is never the reward.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.protocol import Sampler
from thumbtune.training.optimizers import optimizer_of
from thumbtune.training.sampling import seeded_generator
from thumbtune.training.trainer import Settings

Latents = Float[Tensor, "b *shape"]
Denoise = Callable[[Tensor, Tensor], Tensor]  # noisy latents, time -> output of the network
Advance = Callable[[Tensor, Tensor, Tensor], Tensor]  # output, time, noisy latents -> less noisy latents
Reward = Callable[[Tensor, Sequence[str]], Tensor]  # pixels [b, 3, h, w] in -1..1, prompts -> [b]
Draw = tuple[list[str], list[int]]  # prompts, and a seed for each


def sampled(denoise: Denoise, advance: Advance, noise: Latents, times: Shaped[Tensor, "steps"], kept: int) -> Latents:
    """Return the latents after all steps, differentiable through the last `kept` of them alone.

    noise: the latents of the first step      times: from the noisiest on
    """
    latents = noise
    for place, t in enumerate(times):
        if place < len(times) - kept:
            with torch.no_grad():
                latents = advance(denoise(latents, t), t, latents)
        else:
            output: Any = checkpoint(denoise, latents, t, use_reentrant=False, preserve_rng_state=False)
            latents = advance(output, t, latents)
    return latents


def guided(predict: Denoise, guidance: float) -> Denoise:
    """Return u + guidance * (c - u) of a network that gets a batch twice, first without and then with its prompts."""

    def denoise(latents: Tensor, t: Tensor) -> Tensor:
        without, prompted = predict(torch.cat([latents, latents]), t.expand(2 * len(latents))).chunk(2)
        return without + guidance * (prompted - without)

    return denoise


def drawn_latents(
    model: LatentDiffusion, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler, kept: int
) -> Float[Tensor, "b channels h w"]:
    """Return the latents that `model.generate` decodes, differentiable through the last `kept` steps."""
    condition = model.embed([""] * len(prompts) + list(prompts))
    scheduler = model.pipeline.scheduler
    scheduler.set_timesteps(sampler.steps)
    shape = model.latent_shape(sampler.size or model.size)
    noise = torch.stack([torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds])

    def predict(latents: Tensor, t: Tensor) -> Tensor:
        return model.predict(latents, t, condition)

    def advance(output: Tensor, t: Tensor, latents: Tensor) -> Tensor:
        return scheduler.step(output, t, latents, return_dict=False)[0]

    start = noise * scheduler.init_noise_sigma
    return sampled(guided(predict, sampler.guidance), advance, start, scheduler.timesteps, kept)


def reward_of(model: LatentDiffusion, draw: Draw, sampler: Sampler, kept: int, reward: Reward) -> Float[Tensor, "b"]:
    """Return the reward of each image that is drawn; its gradient goes through the decoder and the last steps."""
    pixels = model.pixels(drawn_latents(model, *draw, sampler, kept))
    return reward(pixels.clamp(-1, 1), draw[0])  # an image has no values beyond


def passes_of(sampler: Sampler, kept: int) -> int:
    """Return the passes through the network for an image to train on, where a backward pass counts as two.

    Guidance runs it twice a step; a kept step runs it again when it is differentiated.

    >>> passes_of(Sampler(steps=8, guidance=3.0), kept=1)
    22
    """
    return 2 * (sampler.steps - kept) + 2 * kept * (1 + 1 + 2)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is rewarded, and how long.

    train, held_out: prompts to train on, and prompts whose reward decides when to stop
    batch:  images a step                                kept: K
    every:  steps between two looks at the held-out reward
    patience: looks without a better reward after which training stops; the best LoRA is then the result
    enough: the mean held-out reward at which training stops too; None: no such end
    """

    train: list[str]
    held_out: Draw
    sampler: Sampler
    batch: int
    seed: int
    kept: int = 1
    every: int = 20
    patience: int = 2
    enough: float | None = None


@dataclass
class Rewarded:
    """What a training by reward came to: the mean held-out reward by step, the step of the result, the last step."""

    rewards: dict[int, float]
    best: int = 0
    last: int = 0


def batch_of(plan: Plan, step: int) -> Draw:
    """Return the prompts and seeds of a step, which follow from the seed and the step alone."""
    generator = seeded_generator(plan.seed, step, "alignprop")
    places = torch.randint(len(plan.train), (plan.batch,), generator=generator).tolist()
    seeds = torch.randint(2**31, (plan.batch,), generator=generator).tolist()
    return [plan.train[place] for place in places], seeds


def train_by_reward(
    model: LatentDiffusion, reward: Reward, plan: Plan, settings: Settings, steps: Callable[[int], Any] = range
) -> Rewarded:
    """Tune the model's trainable weights by the reward; they are then those with the best held-out reward.

    settings: of the optimisation, as of any training
    steps: the range of steps, for a progress bar
    """
    weights = [weight for _, weight in model.trainable()]
    optimizer = optimizer_of(settings.optimizer, weights, settings.lr, settings.weight_decay)
    result = Rewarded({0: _held_out_reward(model, reward, plan)})
    best = [weight.detach().clone() for weight in weights]
    for step in steps(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr_at(step)
        optimizer.zero_grad()
        (-reward_of(model, batch_of(plan, step), plan.sampler, plan.kept, reward).mean()).backward()
        torch.nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
        optimizer.step()
        result.last = step + 1
        if result.last % plan.every and result.last != settings.steps:
            continue
        result.rewards[result.last] = _held_out_reward(model, reward, plan)
        if result.rewards[result.last] > result.rewards[result.best]:
            result.best, best = result.last, [weight.detach().clone() for weight in weights]
        is_enough = plan.enough is not None and result.rewards[result.last] >= plan.enough
        if is_enough or result.last - result.best >= plan.patience * plan.every:
            break
    with torch.no_grad():
        for weight, value in zip(weights, best, strict=True):
            weight.copy_(value)
    return result


@torch.no_grad()
def _held_out_reward(model: LatentDiffusion, reward: Reward, plan: Plan) -> float:
    return float(reward_of(model, plan.held_out, plan.sampler, 0, reward).mean())
