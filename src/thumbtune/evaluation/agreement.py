"""The implicit reward of held-out images, which shows whether the tuned model agrees with held-out labels.

    implicit reward of an image = mean over a few noise levels of (reference_error - policy_error)

It should be higher for liked than for disliked images. Before tuning it is 0 for all images.
`classifier` measures how well it separates them; it needs scipy, which training does not.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor

from thumbtune.memory import in_parts
from thumbtune.models.protocol import Model
from thumbtune.training.batch import Batch, positions
from thumbtune.training.denoising import error, reference_error
from thumbtune.training.encoded import Encoded
from thumbtune.training.progress import Sized
from thumbtune.training.sampling import seeded_generator

NOISE_LEVELS = 8  # per image, spread evenly over time
MONITOR_LEVELS = range(0, NOISE_LEVELS, 2)  # enough during training, where it is measured often


@torch.no_grad()
def implicit_reward(
    model: Model,
    held_out: Encoded,
    accelerator: Accelerator,
    progress: Callable[[Iterable[Any], str], Iterable[Any]],
    at_once: int = 32,
) -> Float[Tensor, "n"]:
    """Return the implicit reward of every held-out image, with noise that depends only on the image."""

    def rewards_of(rows: Sequence[int]) -> Float[Tensor, "b"]:
        levels = [
            _log_ratio(model, _at_level(model, held_out, rows, level), accelerator) for level in range(NOISE_LEVELS)
        ]
        return torch.stack(levels).mean(0).cpu()

    parts = Sized(_in_parts(held_out, at_once, rewards_of), math.ceil(len(held_out) / at_once))
    return _in_order(progress(parts, "Measuring held-out likes"))


@torch.no_grad()
def mean_error(
    model: Model, held_out: Encoded, accelerator: Accelerator, at_once: int = 32, base: bool = False
) -> Float[Tensor, "n"]:
    """Return the denoising error of every held-out image, averaged over `MONITOR_LEVELS`.

    The noise depends only on the image, so the reference errors are computed once, while the reference is the base.

    Args:
        base: use the reference instead of the policy.
    """
    error_of = reference_error if base else error

    def errors_of(rows: Sequence[int]) -> Float[Tensor, "b"]:
        batches = [_at_level(model, held_out, rows, level).to(accelerator.device) for level in MONITOR_LEVELS]
        return torch.stack([error_of(model, batch, accelerator) for batch in batches]).mean(0).cpu()

    return _in_order(_in_parts(held_out, at_once, errors_of))


Measured = tuple[Sequence[int], Float[Tensor, "b"]]  # rows, and a number for each


def _in_parts(
    held_out: Encoded, at_once: int, work: Callable[[Sequence[int]], Float[Tensor, "b"]]
) -> Iterator[Measured]:
    """Yield parts of the rows, each of one shape, with the result of `work` on them."""
    rows = sorted(range(len(held_out)), key=held_out.shape_of)
    return in_parts(rows, at_once, work, held_out.shape_of)


def _in_order(parts: Iterable[Measured]) -> Float[Tensor, "n"]:
    """Return the numbers of all parts in the order of their rows."""
    found = list(parts)
    order = torch.tensor([row for rows, _ in found for row in rows]).argsort()
    return torch.cat([numbers for _, numbers in found])[order]


def pairwise_auc(reward: Float[Tensor, "n"], liked: Bool[Tensor, "n"]) -> float | None:
    """Return the AUC: the share of pairs of a liked and a disliked image with the higher reward on the liked one.

    Ties count half. None if a reward is not finite. It compares every pair, so use it for few images.
    """
    if not reward.isfinite().all():
        return None
    above = reward[liked][:, None] - reward[~liked][None, :]
    return float(((above > 0).double() + (above == 0).double() / 2).mean())


def _log_ratio(model: Model, batch: Batch, accelerator: Accelerator) -> Float[Tensor, "b"]:
    batch = batch.to(accelerator.device)
    return reference_error(model, batch, accelerator) - error(model, batch, accelerator)


def _at_level(model: Model, encoded: Encoded, rows: Sequence[int], level: int) -> Batch:
    clean, about = encoded.images(rows)
    assert isinstance(clean, Tensor)  # of one shape
    ids = [encoded.image_ids[i] for i in rows]
    noise = torch.stack([torch.randn(clean.shape[1:], generator=seeded_generator("held out", id, level)) for id in ids])
    uniform = torch.full((len(rows),), (level + 0.5) / NOISE_LEVELS)
    return Batch(
        latents=clean,
        condition=encoded.condition([encoded.prompts[i] for i in rows]) | about,
        noise=noise,
        t=model.process.times(uniform, positions([clean.shape[1:]] * len(rows))),
        liked=encoded.liked[rows],
        weight=encoded.weight[rows],
    )
