"""Noise processes: how images are noised, and the target that a network predicts.

    variance preserving   x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps       t = 0 .. T-1
        epsilon  eps          v  sqrt(abar_t) eps - sqrt(1 - abar_t) x_0      sample  x_0
    rectified flow        x_s = (1 - s) x_0 + s eps                           0 < s < 1
        velocity eps - x_0

Sources: DDPM, arXiv 2006.11239, eq. 4; v-prediction, arXiv 2202.00512, appendix D; rectified flow, arXiv 2209.03003,
as in SD3, arXiv 2403.03206, with its shift of the noise levels, eq. 23. Equal to diffusers' schedulers, by test.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Latents = Float[Tensor, "b *shape"]
Times = Shaped[Tensor, "b"]  # whole steps for VPProcess, sigma in 0..1 times 1000 for FlowProcess


@runtime_checkable
class Process(Protocol):
    """A way of adding noise. Times are in the network's units."""

    def times(self, uniform: Float[Tensor, "b"]) -> Times:
        """Map uniform numbers in [0, 1) to the times at which images are judged."""
        ...

    def noised(self, clean: Latents, noise: Latents, t: Times) -> Latents: ...

    def target(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        """Return the network's target at `t`."""
        ...

    def clean(self, noisy: Latents, target: Latents, t: Times) -> Latents:
        """Return the clean image of a noisy one and a (predicted) target: the inverse of `noised`."""
        ...


def _beside(values: Float[Tensor, "b"], like: Latents) -> Float[Tensor, "b *ones"]:
    """Return one number per image with the rank and dtype of a batch of latents."""
    return values.to(like).reshape(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True, eq=False)
class VPProcess:
    """The variance-preserving process of DDPM, SD 1.x and 2.x, on a table of cumulative alphas [T]."""

    alphas_cumprod: Float[Tensor, "T"]
    prediction: Literal["epsilon", "v_prediction", "sample"] = "epsilon"

    def times(self, uniform: Float[Tensor, "b"]) -> Times:
        return (uniform * len(self.alphas_cumprod)).long().clamp(max=len(self.alphas_cumprod) - 1)

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


@dataclass(frozen=True)
class FlowProcess:
    """Rectified flow of SD3 and FLUX: straight lines between image and noise, time = 1000 * sigma."""

    density: Literal["uniform", "logit-normal"] = "logit-normal"
    shift: float = 1.0
    steps: int = 1000

    def times(self, uniform: Float[Tensor, "b"]) -> Times:
        sigma = uniform.clamp(1e-4, 1 - 1e-4)
        if self.density == "logit-normal":
            # the quantile of a standard normal, then the logistic function: arXiv 2403.03206, eq. 19 (m=0, s=1)
            sigma = torch.sigmoid(math.sqrt(2) * torch.erfinv(2 * sigma - 1))
        sigma = self.shift * sigma / (1 + (self.shift - 1) * sigma)
        return sigma * self.steps

    def noised(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        sigma = _beside(t / self.steps, clean)
        return (1 - sigma) * clean + sigma * noise

    def target(self, clean: Latents, noise: Latents, t: Times) -> Latents:
        return noise - clean

    def clean(self, noisy: Latents, target: Latents, t: Times) -> Latents:
        return noisy - _beside(t / self.steps, noisy) * target


def betas_from(config: Mapping[str, Any]) -> Float[Tensor, "T"]:
    """Return the noise schedule that a diffusers scheduler config describes, in double precision.

    Raises:
        ValueError: the config names a schedule other than linear, scaled_linear or squaredcos_cap_v2.
    """
    steps = int(config.get("num_train_timesteps", 1000))
    start, end = config.get("beta_start", 0.0001), config.get("beta_end", 0.02)
    name = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        return torch.as_tensor(config["trained_betas"], dtype=torch.float64)
    if name == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float64)
    if name == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    if name == "squaredcos_cap_v2":
        grid = torch.arange(steps + 1, dtype=torch.float64) / steps
        bar = torch.cos((grid + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
    raise ValueError(f"beta_schedule {name!r} is not known; use linear, scaled_linear or squaredcos_cap_v2.")


def zero_terminal(betas: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """Return a schedule rescaled so that its last step is pure noise: arXiv 2305.08891, algorithm 1."""
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    bar = root**2
    return 1 - torch.cat([bar[:1], bar[1:] / bar[:-1]])


def process_of(config: Mapping[str, Any]) -> VPProcess | FlowProcess:
    """Return the process that a pipeline's own scheduler config describes.

    Raises:
        ValueError: the prediction type is not epsilon, v_prediction or sample, or the schedule is one of EDM.
    """
    if "FlowMatch" in str(config.get("_class_name", "")):
        return FlowProcess(shift=float(config.get("shift", 1.0)), steps=int(config.get("num_train_timesteps", 1000)))
    if str(config.get("_class_name", "")).startswith("EDM"):
        raise ValueError(
            "an EDM schedule, as of Playground v2.5, is not one that training knows; choose another model."
        )
    betas = betas_from(config)
    if config.get("rescale_betas_zero_snr", False):
        betas = zero_terminal(betas)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise ValueError(f"prediction_type {prediction!r} is not known; use epsilon, v_prediction or sample.")
    return VPProcess((1 - betas).cumprod(0).float(), prediction)
