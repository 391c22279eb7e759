"""How well the base denoises the user's own images: its error at three noise levels, in numbers without a scale.

    relative = mean (clean - guess)^2 / mean over channels of v / (1 + v SNR)
    fit      = sum clean * guess / sum guess^2, both less the mean of their channel

`guess` is the clean image that the base's output stands for, `v` the variance of a channel. The divisor is the error of
the simplest guess, which knows only the mean and variance of each channel (Wiener's filter); so a network that gives
zeros or noise has 1 or more. At one noise level both numbers are the same whether a network predicts noise, velocity or
image. A network that learnt to denoise guesses the mean of all images that are possible, so its fit is 1. One that was
distilled to draw in a few steps gives one of them: it differs most at high noise and without a prompt, where many are.
Bundled model there, mean of 12 draws of noise: relative 0.6, fit 0.98; with samples in place of its guesses 0.75, 0.65.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from thumbtune.memory import in_parts
from thumbtune.models.noise_levels import snr_of, time_of
from thumbtune.models.protocol import Model
from thumbtune.training.cache import is_finite
from thumbtune.training.encoded import Encoded
from thumbtune.training.sampling import seeded_generator

SIGMAS = (0.1, 0.5, 0.9)  # of rectified flow; of other processes the time with the same signal-to-noise ratio
# and whether the base sees the prompts, and the draws of noise for each image: one alone may move the fit by 0.1
ASKED = (*((sigma, True, 1) for sigma in SIGMAS), (SIGMAS[-1], False, 3))
MAX_IMAGES = 8
SIMPLEST = 1.0  # relative error of the simplest guess
LEAST_FIT = 0.8
Noisy = tuple[int, int]  # a row, and the number of its noise
About = tuple[float, float | int, bool]  # sigma, the network's time, and whether it sees prompts
PERHAPS = (
    "it may be distilled to draw in a few steps, predict something else than its files say, or not know such images, "
    "so look at images that it draws in many steps before you trust this training"
)


@dataclass(frozen=True, kw_only=True)
class Level:
    """What was measured at one noise level.

    time:     of the network
    prompted: whether the base saw the prompts of the images
    error:    mean squared error of what the network predicts, without a weight
    relative: squared error of the clean image, over that of the simplest guess
    fit:      the factor with which its guesses fit the images best
    A number that is not finite is None.
    """

    sigma: float
    time: float
    prompted: bool
    error: float | None
    relative: float | None
    fit: float | None


def measured_rows(encoded: Encoded) -> list[int]:
    """Return up to MAX_IMAGES rows with finite latents, spread over all, images of one shape together."""
    count = min(MAX_IMAGES, len(encoded))
    rows = {place * len(encoded) // count for place in range(count)}
    rows = {row for row in rows if is_finite({"latent": encoded.latents([row])[0]})}  # type: ignore[index]
    return sorted(rows, key=encoded.shape_of)


@torch.no_grad()
def base_levels(model: Model, encoded: Encoded, accelerator: Accelerator, at_once: int = MAX_IMAGES) -> list[Level]:
    """Return the base's errors on a few of the images, with noise that depends only on the image and the level."""
    rows = measured_rows(encoded)
    found = []
    for sigma, prompted, draws in ASKED:
        time = time_of(model.process, sigma)
        noisy = [(row, draw) for row in rows for draw in range(draws)]

        def pairs_of(part: Sequence[Noisy], about: About = (sigma, time, prompted)) -> tuple[Tensor, Tensor]:
            return _errors_and_pairs(model, encoded, accelerator, part, about)

        parts = list(in_parts(noisy, at_once, pairs_of, lambda one: encoded.shape_of(one[0])))
        mean = torch.cat([errors for _, (errors, _) in parts]).double().mean()
        clean, guess = torch.cat([pairs for _, (_, pairs) in parts], 2)
        snr = snr_of(model.process, torch.tensor([time]))
        variance = clean.var(1, correction=0)
        simplest = (variance / (1 + variance * snr)).mean()
        a, b = clean - clean.mean(1, keepdim=True), guess - guess.mean(1, keepdim=True)
        numbers = torch.stack([mean, (clean - guess).pow(2).mean() / simplest, (a * b).sum() / b.pow(2).sum()]).tolist()
        error, relative, fit = (number if math.isfinite(number) else None for number in numbers)
        found.append(Level(sigma=sigma, time=float(time), prompted=prompted, error=error, relative=relative, fit=fit))
    return found


def _errors_and_pairs(
    model: Model, encoded: Encoded, accelerator: Accelerator, part: Sequence[Noisy], about: About
) -> tuple[Tensor, Tensor]:
    """Return each image's mean squared error, [b], and the clean images and guesses, [2, channels, values]."""
    sigma, time, prompted = about
    rows = [row for row, _ in part]
    clean, of_images = encoded.images(rows)
    assert isinstance(clean, Tensor)  # of one shape
    generators = [seeded_generator("base", encoded.image_ids[row], sigma, draw) for row, draw in part]
    noise = torch.stack([torch.randn(clean.shape[1:], generator=generator) for generator in generators])
    condition = encoded.condition([encoded.prompts[row] if prompted else "" for row in rows]) | of_images
    device = accelerator.device
    t = torch.tensor([time] * len(rows), device=device)
    clean, noise = clean.to(device), noise.to(device)
    noisy = model.process.noised(clean, noise, t)
    with accelerator.autocast(), model.reference():
        output = model.predict(noisy, t, {name: value.to(device) for name, value in condition.items()})
    errors = (output.float() - model.process.target(clean, noise, t)).pow(2).flatten(1).mean(1)
    guess = model.process.clean(noisy, output.float(), t)
    pairs = torch.stack([one.transpose(0, 1).flatten(1) for one in (clean, guess)])
    return errors.cpu(), pairs.double().cpu()


def sentence_of(levels: Sequence[Level], images: int) -> str | None:
    """Return a note on a base that does not denoise as one that learnt to; None on any other one."""
    relative, worst = max((level.relative or 0.0, level.sigma) for level in levels if level.prompted)
    if relative >= SIMPLEST:
        return (
            f"At noise level {worst:g} the base model's error on {images} of these images is {relative:.3g} "
            "times that of the simplest guess, which knows only the mean and the spread of each channel, and a model "
            f"that learnt to denoise such images is below 1: {PERHAPS}."
        )
    fits = [(level.fit, level.sigma) for level in levels if not level.prompted and level.fit is not None]
    fit, sharpest = min(fits, default=(1.0, 0.0))
    if fit < LEAST_FIT:
        return (
            f"At noise level {sharpest:g} and without a prompt the base model's guesses of {images} of these "
            f"images fit best if they are multiplied by {fit:.2f}, so they are sharper than it can know, and a model "
            f"that learnt to denoise such images has about 1: {PERHAPS}."
        )
    return None


def record_of(
    model: Model, encoded: Encoded, accelerator: Accelerator, at_once: int, noise_levels: str
) -> dict[str, Any] | None:
    """Return what a run keeps of the measurement; None without an image that is encoded as finite numbers.

    noise_levels: how the training draws them, in words
    """
    images = len(measured_rows(encoded))
    if not images:
        return None
    levels = base_levels(model, encoded, accelerator, at_once)
    return {
        "images": images,
        "noise_levels": noise_levels,
        "levels": [asdict(level) for level in levels],
        "note": sentence_of(levels, images),
    }
