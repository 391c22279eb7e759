"""Does the tuned model agree with thumbs that it never saw? Its implicit reward of held-out images.

    implicit reward of an image = mean over a few noise levels of (reference_error - policy_error)

Liked images should have a higher one than disliked images. Before tuning it is 0 for all: no opinion.
How well it tells them apart is counted in `classifier`, with scipy, which no training needs.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor

from thumbtune.models.protocol import Model
from thumbtune.training.batches import Batch, Encoded
from thumbtune.training.denoising import error, reference_error
from thumbtune.training.sampling import seeded_generator

LEVELS = 8  # noise levels per image, spread evenly over time
FEW_LEVELS = range(0, LEVELS, 2)  # enough while training, where one looks often


@torch.no_grad()
def implicit_reward(
    model: Model,
    held_out: Encoded,
    accelerator: Accelerator,
    progress: Callable[[Iterable[Any], str], Iterable[Any]],
    at_once: int = 32,
) -> Float[Tensor, "n"]:
    """The mean log-ratio of every held-out image, at noise that depends on the image alone."""
    rewards = []
    for start in progress(range(0, len(held_out), at_once), "Asking held-out likes"):
        rows = list(range(start, min(start + at_once, len(held_out))))
        levels = [_ratio(model, _at_level(model, held_out, rows, level), accelerator) for level in range(LEVELS)]
        rewards.append(torch.stack(levels).mean(0).cpu())
    return torch.cat(rewards)


@torch.no_grad()
def mean_error(
    model: Model, held_out: Encoded, accelerator: Accelerator, at_once: int = 32, base: bool = False
) -> Float[Tensor, "n"]:
    """The mean denoising error of every held-out image over a few levels, by the policy or, with `base`, the reference.

    The noise depends on the image alone, so the reference's errors are asked for once, while it still is the base.
    """
    ask = reference_error if base else error
    errors = []
    for start in range(0, len(held_out), at_once):
        rows = list(range(start, min(start + at_once, len(held_out))))
        batches = [_at_level(model, held_out, rows, level).to(accelerator.device) for level in FEW_LEVELS]
        errors.append(torch.stack([ask(model, batch, accelerator) for batch in batches]).mean(0).cpu())
    return torch.cat(errors)


def share_of_pairs(reward: Float[Tensor, "n"], liked: Bool[Tensor, "n"]) -> float | None:
    """The AUC, written out: of all pairs of a liked and a disliked image, how many are told right; ties count half.

    None where a reward is no number. For a few images only: it looks at every pair.
    """
    if not reward.isfinite().all():
        return None
    above = reward[liked][:, None] - reward[~liked][None, :]
    return float(((above > 0).double() + (above == 0).double() / 2).mean())


def _ratio(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    batch = batch.to(accelerator.device)
    return reference_error(model, batch, accelerator) - error(model, batch, accelerator)


def _at_level(model: Model, encoded: Encoded, rows: list[int], level: int) -> Batch:
    clean = encoded.latents(rows)
    names = [encoded.image_ids[i] for i in rows]
    noise = torch.stack([torch.randn(clean.shape[1:], generator=seeded_generator("held out", n, level)) for n in names])
    uniform = torch.full((len(rows),), (level + 0.5) / LEVELS)
    return Batch(
        latents=clean,
        condition=encoded.condition([encoded.prompts[i] for i in rows]),
        noise=noise,
        t=model.process.times(uniform),
        liked=encoded.liked[rows],
        weight=encoded.weight[rows],
    )
