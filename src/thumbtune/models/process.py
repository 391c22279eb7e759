"""Noise processes: how images are noised, and the target that a network predicts.

    variance preserving   x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps       t = 0 .. T-1
        epsilon  eps          v  sqrt(abar_t) eps - sqrt(1 - abar_t) x_0      sample  x_0
    rectified flow        x_s = (1 - s) x_0 + s eps                           0 < s < 1
        velocity eps - x_0

Sources: DDPM, arXiv 2006.11239, eq. 4; v-prediction, arXiv 2202.00512, appendix D; rectified flow, arXiv 2209.03003,
as in SD3, arXiv 2403.03206, with its shift of the noise levels, eq. 23. Equal to diffusers' schedulers, by test;
`schedulers` reads their settings, and `noise_levels` has the densities, the weights of errors, and what people choose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from thumbtune.models.densities import MODE_SCALE, logit_normal, mode

Latents = Float[Tensor, "b *shape"]
Times = Shaped[Tensor, "b"]  # whole steps for VPProcess, sigma in 0..1 times 1000 for FlowProcess
Density = Literal["uniform", "logit-normal", "mode"]
Weighting = Callable[[Any, Times], Float[Tensor, "b"]]  # of a process and times: a factor of each squared error
ENDS = 1e-4  # sigmas nearer to 0 or 1 are not drawn before the shift


@runtime_checkable
class Process(Protocol):
    """A way of adding noise. Times are in the network's units."""

    def times(self, uniform: Float[Tensor, "b"], positions: Int[Tensor, "b"] | None = None) -> Times:
        """Map uniform numbers in [0, 1) to the times at which images are judged.

        positions: of each image's latent, height * width (* frames); a process with one shift for all needs none

        Raises:
            ValueError: the process needs positions.
        """
        ...

    def share(self, t: Times) -> Float[Tensor, "b"]:
        """Return where times lie in the process: 0 is a clean image, 1 is pure noise."""
        ...

    def noised(self, clean: Latents, noise: Latents, t: Times) -> Latents: ...

    def target(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        """Return the network's target at `t`."""
        ...

    def clean(self, noisy: Latents, target: Latents, t: Times) -> Latents:
        """Return the clean image of a noisy one and a (predicted) target: the inverse of `noised`."""
        ...

    def weights(self, t: Times) -> Float[Tensor, "b"] | None:
        """Return the factor of each image's squared error; None for 1."""
        ...


def _beside(values: Float[Tensor, "b"], like: Latents) -> Float[Tensor, "b *ones"]:
    """Return one number per image with the rank and dtype of a batch of latents."""
    return values.to(like).reshape(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True, eq=False)
class VPProcess:
    """The variance-preserving process of DDPM, SD 1.x and 2.x, on a table of cumulative alphas [T].

    weighting: of squared errors by time; None: 1 for all
    """

    alphas_cumprod: Float[Tensor, "T"]
    prediction: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    weighting: Weighting | None = None

    def times(self, uniform: Float[Tensor, "b"], positions: Int[Tensor, "b"] | None = None) -> Times:
        return (uniform * len(self.alphas_cumprod)).long().clamp(max=len(self.alphas_cumprod) - 1)

    def share(self, t: Times) -> Float[Tensor, "b"]:
        """Return t / T, which is not the amount of noise: it says how many of the times lie below."""
        return t / len(self.alphas_cumprod)

    def _scales(self, like: Latents, t: Times) -> tuple[Tensor, Tensor]:
        alpha = self.alphas_cumprod.to(t.device)[t]
        return _beside(alpha.sqrt(), like), _beside((1 - alpha).sqrt(), like)

    def noised(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        signal, spread = self._scales(clean, t)
        return signal * clean + spread * noise

    def target(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return clean
        signal, spread = self._scales(clean, t)
        return signal * noise - spread * clean

    def clean(self, noisy: Latents, target: Latents, t: Times) -> Latents:
        signal, spread = self._scales(noisy, t)
        if self.prediction == "epsilon":
            return (noisy - spread * target) / signal
        if self.prediction == "sample":
            return target
        return signal * noisy - spread * target

    def weights(self, t: Times) -> Float[Tensor, "b"] | None:
        return None if self.weighting is None else self.weighting(self, t)


@dataclass(frozen=True, kw_only=True)
class DynamicShift:
    """A shift that grows with the number of an image's tokens: exp(mu), and mu is linear in that number.

    Two points give the line: mu is `base` at `base_tokens`, and `most` at `most_tokens`. Source: FLUX.1's sampling,
    and `use_dynamic_shifting` of diffusers.

    positions_per_token: positions of the latent in one token of the network, 4 for patches of 2 x 2
    exponential: whether the shift is exp(mu); else mu itself
    """

    base: float = 0.5
    most: float = 1.15
    base_tokens: int = 256
    most_tokens: int = 4096
    positions_per_token: int = 1
    exponential: bool = True

    def of(self, positions: Int[Tensor, "b"]) -> Float[Tensor, "b"]:
        """Return the shift of each image.

        >>> DynamicShift(positions_per_token=4).of(torch.tensor([128 * 128])).log()
        tensor([1.1500])
        """
        slope = (self.most - self.base) / (self.most_tokens - self.base_tokens)
        mu = self.base + slope * (positions / self.positions_per_token - self.base_tokens)
        return mu.exp() if self.exponential else mu


@dataclass(frozen=True)
class FlowProcess:
    """Rectified flow of SD3 and FLUX: straight lines between image and noise, time = 1000 * sigma.

    density:    of sigma before the shift: uniform, logit-normal (arXiv 2403.03206, eq. 19) or mode (eq. 20)
    shift:      one for all images, or one for each size
    logit_mean, logit_std: of logit(sigma), for logit-normal; a mean above 0 is more noise
    mode_scale: of mode: above 0 prefers the middle, below 0 the ends
    weighting:  of squared errors by time; None: 1 for all
    """

    density: Density = "logit-normal"
    shift: float | DynamicShift = 1.0
    steps: int = 1000
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = MODE_SCALE
    weighting: Weighting | None = None

    def times(self, uniform: Float[Tensor, "b"], positions: Int[Tensor, "b"] | None = None) -> Times:
        sigma = uniform.clamp(ENDS, 1 - ENDS)
        if self.density == "logit-normal":
            sigma = logit_normal(sigma, self.logit_mean, self.logit_std).clamp(ENDS, 1 - ENDS)
        elif self.density == "mode":
            sigma = mode(sigma, self.mode_scale).clamp(ENDS, 1 - ENDS)
        shift = self.shift
        if isinstance(shift, DynamicShift):
            if positions is None:
                raise ValueError("a shift that grows with the image needs the positions of each latent.")
            shift = shift.of(positions)
        return shift * sigma / (1 + (shift - 1) * sigma) * self.steps

    def share(self, t: Times) -> Float[Tensor, "b"]:
        """Return sigma."""
        return t / self.steps

    def noised(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        sigma = _beside(t / self.steps, clean)
        return (1 - sigma) * clean + sigma * noise

    def target(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        return noise - clean

    def clean(self, noisy: Latents, target: Latents, t: Times) -> Latents:
        return noisy - _beside(t / self.steps, noisy) * target

    def weights(self, t: Times) -> Float[Tensor, "b"] | None:
        return None if self.weighting is None else self.weighting(self, t)
