"""Where over the noise levels a tuning acts, on images that no training saw.

    log-ratio of an image at t   (reference_error - policy_error) / mean reference_error     positive: fits it better
    moved at t                   mean |policy - reference|^2      / mean reference_error
    margin at t                  mean log-ratio of wanted images - that of the others        what tells them apart at t

Errors are mean squared errors of the network's output. The mean reference error is that of all images at t, so the
numbers are shares of what the reference gets wrong there, and levels can be compared: an absolute error at low noise is
some 25 times that at high noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from thumbtune.models.process import Latents, Times
from thumbtune.models.protocol import Model
from thumbtune.training.sampling import seeded_generator

LEVELS = tuple((place + 0.5) / 8 for place in range(8))  # shares of the process: 0 is a clean image, 1 is pure noise
DRAWS = 2  # of noise for each image and level
IMAGES_AT_ONCE = 32


@dataclass(frozen=True)
class NoiseCurves:
    """What a tuned model does to images at each level of `LEVELS`.

    log_ratios: of each image
    """

    log_ratios: Float[Tensor, "levels images"]
    moved: Float[Tensor, "levels"]

    def margin(self, wanted: Bool[Tensor, "images"]) -> Float[Tensor, "levels"]:
        """Return the mean log-ratio of wanted images minus that of the others; NaN if there are none of one kind."""
        return self.log_ratios[:, wanted].mean(1) - self.log_ratios[:, ~wanted].mean(1)


def curves_of(
    reference_errors: Float[Tensor, "levels images"],
    policy_errors: Float[Tensor, "levels images"],
    distances: Float[Tensor, "levels images"],
) -> NoiseCurves:
    """Return the curves of mean squared errors and of mean squared distances between policy and reference.

    >>> curves_of(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 3.5]]), torch.tensor([[0.2, 0.6]]))
    NoiseCurves(log_ratios=tensor([[ 0.2500, -0.2500]]), moved=tensor([0.2000]))
    """
    unit = reference_errors.mean(1, keepdim=True)
    return NoiseCurves((reference_errors - policy_errors) / unit, (distances / unit).mean(1))


@torch.no_grad()
def measure_curves(model: Model, latents: Latents, prompts: Sequence[str], seed: int) -> NoiseCurves:
    """Return the curves of a tuned model on images; the same seed gives every model the same noise.

    latents: as `model.encode` returns them
    """
    found = torch.zeros(3, len(LEVELS), len(latents))
    for place, level in enumerate(LEVELS):
        for draw in range(DRAWS):
            noise = torch.randn(latents.shape, generator=seeded_generator(seed, place, draw))
            for start in range(0, len(latents), IMAGES_AT_ONCE):
                part = slice(start, start + IMAGES_AT_ONCE)
                t = model.process.times(torch.full((len(latents[part]),), level))
                found[:, place, part] += _squares(model, latents[part], noise[part], t, prompts[part])
    return curves_of(*(found / DRAWS))


def _squares(
    model: Model, clean: Latents, noise: Latents, t: Times, prompts: Sequence[str]
) -> Float[Tensor, "3 images"]:
    """Return the reference's and the policy's squared errors, and the squared distance between both."""
    noisy, target = model.process.noised(clean, noise, t), model.process.target(clean, noise, t)
    condition = model.embed(prompts)
    policy = model.predict(noisy, t, condition)
    with model.reference():
        reference = model.predict(noisy, t, condition)
    pairs = ((reference, target), (policy, target), (policy, reference))
    return torch.stack([(one - other).pow(2).flatten(1).mean(1) for one, other in pairs])
