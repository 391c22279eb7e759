"""Noise levels: what people choose of their density and weight, and the level at which two processes are comparable.

A weight multiplies each squared error, and so the log-ratio of kto, bco and dpo: it is a beta for each noise level.

    sigma-sqrt   1 / sigma^2                          diffusers' compute_loss_weighting_for_sd3, which has the name
    cosmap       2 / (pi (1 - 2 sigma + 2 sigma^2))   the same; arXiv 2403.03206, section 3.1
    elbo         flow  (1 - sigma) / sigma            of the velocity's error; docs/flow-models.md derives both
                 VP    T / 2 (SNR(t - 1) - SNR(t))    of the error of x_0, times d x_0^2 / d output^2

`sigma` of a VP process is that of a rectified flow with as much signal for its noise: SNR = ((1 - sigma) / sigma)^2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune.errors import UsageError
from thumbtune.models.densities import MODE_SCALE
from thumbtune.models.process import Density, FlowProcess, Process, Times, VPProcess, Weighting


def snr_of(process: Process, t: Times) -> Float[Tensor, "b"]:
    """Return the signal-to-noise ratio at times, in double precision.

    Raises:
        TypeError: the process is neither a VPProcess nor a FlowProcess.
    """
    if isinstance(process, FlowProcess):
        sigma = t.double() / process.steps
        return ((1 - sigma) / sigma) ** 2
    if isinstance(process, VPProcess):
        alpha = process.alphas_cumprod.to(t.device).double()[t]
        return alpha / (1 - alpha)
    raise TypeError(f"{type(process).__name__} has no signal-to-noise ratio")


def time_of(process: Process, sigma: float) -> float | int:
    """Return the time at which a process has the signal-to-noise ratio of a rectified flow at sigma, or the nearest.

    Raises:
        TypeError: as `snr_of`.
    """
    if isinstance(process, FlowProcess):
        return sigma * process.steps
    if not isinstance(process, VPProcess):
        raise TypeError(f"{type(process).__name__} has no signal-to-noise ratio")
    snr = snr_of(process, torch.arange(len(process.alphas_cumprod)))
    return int((snr.clamp(min=1e-30).log() - 2 * math.log((1 - sigma) / sigma)).abs().argmin())


def sigma_sqrt(process: FlowProcess, t: Times) -> Float[Tensor, "b"]:
    """Return 1 / sigma^2."""
    return (t / process.steps) ** -2.0


def cosmap(process: FlowProcess, t: Times) -> Float[Tensor, "b"]:
    """Return the weight that gives uniform sigmas the density of a cosine schedule."""
    sigma = t / process.steps
    return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma**2))


def elbo(process: VPProcess | FlowProcess, t: Times) -> Float[Tensor, "b"]:
    """Return the weight with which mean squared errors, at uniform times, sum up to the variational bound.

    The first step of a VP process has the decoder of DDPM, a Gaussian with the variance of that step.
    """
    if isinstance(process, FlowProcess):
        return (process.steps - t) / t
    alpha = process.alphas_cumprod.to(t.device).double()
    before = torch.where(t > 0, snr_of(process, (t - 1).clamp(min=0)), (1 + alpha[0]) / (1 - alpha[0]))
    of_clean = len(alpha) / 2 * (before - snr_of(process, t))
    to_clean = {"epsilon": (1 - alpha[t]) / alpha[t], "v_prediction": 1 - alpha[t], "sample": torch.ones_like(alpha[t])}
    return (of_clean * to_clean[process.prediction]).float()


WEIGHTINGS: dict[str, Weighting] = {"sigma-sqrt": sigma_sqrt, "cosmap": cosmap, "elbo": elbo}
OF_VP = ("none", "elbo")  # the weightings that a VP process has


@dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """How noise levels are drawn and weighted; the defaults leave a process as it is.

    density:   auto is logit-normal for a FlowProcess and uniform for a VPProcess, which has no other
    shift:     in place of the one of the scheduler, which auto keeps
    weighting: none, or a name of WEIGHTINGS
    """

    density: Literal["auto"] | Density = "auto"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = MODE_SCALE
    shift: float | Literal["auto"] = "auto"
    weighting: str = "none"

    def flow_only(self) -> str | None:
        """Return the first option, with its value, that only a process of rectified flow has; None without one."""
        if self.density not in ("auto", "uniform"):
            return f"timestep_density {self.density}"
        if (self.logit_mean, self.logit_std) != (0.0, 1.0):
            return f"logit_mean {self.logit_mean:g} with logit_std {self.logit_std:g}"
        if self.shift != "auto":
            return f"timestep_shift {self.shift:g}"
        return None if self.weighting in OF_VP else f"timestep_weighting {self.weighting}"

    def on(self, process: Process) -> Process:
        """Return a process with these noise levels; the same one for the defaults.

        Raises:
            ValueError: only a process of rectified flow has one of these options; it names the option.
        """
        if self == NoiseLevels():
            return process
        weighting = WEIGHTINGS.get(self.weighting)
        if not isinstance(process, FlowProcess):
            if (option := self.flow_only()) is not None or not isinstance(process, VPProcess):
                raise ValueError(option)
            return replace(process, weighting=weighting)
        return replace(
            process,
            density=process.density if self.density == "auto" else self.density,
            shift=process.shift if self.shift == "auto" else self.shift,
            logit_mean=self.logit_mean,
            logit_std=self.logit_std,
            mode_scale=self.mode_scale,
            weighting=weighting,
        )


def refused_levels(option: str, model: str) -> UsageError:
    """Return the error for an option that only models of rectified flow have."""
    return UsageError(
        f"train.{option} is for models of rectified flow, and {model} adds noise by another schedule; leave it out, "
        "and choose noise levels with train.timestep_bias.",
        code="timesteps-flow-only",
    )


def words_of(process: Process, bias: float = 1.0, disliked: Sequence[float] = (0.0, 1.0)) -> str:
    """Return how a process draws and weighs noise levels in a training, for people.

    bias:     `train.timestep_bias`
    disliked: `train.disliked_timesteps`

    >>> words_of(FlowProcess(shift=3.0))
    'logit-normal (mean 0, deviation 1), shifted by 3, weight 1'
    """
    names = {weighting: name for name, weighting in WEIGHTINGS.items()}
    named = getattr(process, "weighting", None)
    weight = "weight 1" if named is None else f"weight {names.get(named, 'of its own')}"
    biased = "" if bias == 1 else f", {'high' if bias > 1 else 'low'} noise more often (timestep_bias {bias:g})"
    low, high = disliked
    if (low, high) != (0, 1):
        weight += f", dislikes only from {low:g} to {high:g} of the process"
    if isinstance(process, VPProcess):
        return f"all {len(process.alphas_cumprod):,} times{biased or ' equally often'}, {weight}"
    if not isinstance(process, FlowProcess):
        return f"{weight}{biased}"
    about = {
        "uniform": "uniform",
        "logit-normal": f"logit-normal (mean {process.logit_mean:g}, deviation {process.logit_std:g})",
        "mode": f"mode (scale {process.mode_scale:g})",
    }[process.density]
    shift = process.shift
    shifted = f"shifted by {shift:g}" if isinstance(shift, float | int) else "shifted by the size of each image"
    return f"{about}, {shifted}{biased}, {weight}"
