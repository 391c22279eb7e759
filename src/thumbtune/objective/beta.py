"""Beta, the strength that keeps the policy near the reference: fixed, or adapted during training.

    gain   = sign * beta * (log_ratio - reference_point)             kto.py
    auto   moves the median of |gain| into [0.25, 2]         BAND: inside, a sigmoid is neither straight nor flat

Log-ratios are differences of errors, so they scale with the model's errors. A beta for the noise that SD 1.5 predicts
does not fit velocities, or another model. `Auto` measures their scale, and so works for all models: errors that are c
times as large give a beta that is c times as small, and the same gains. `scale` multiplies BAND, START and MIN_BETA.

The unit of relative log-ratios is 1 (log_ratio.py): read 1 for the reference's error, here and in what a rule gets.
"""

import math
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

# sigmoid'(x) / sigmoid'(0) is 98% at 0.25 and 42% at 2: inside, most images teach, and one whose gain is several times
# that of the others has little weight. START is near the lower end: small gains gave better images (docs/paper.md).
BAND = (0.25, 2.0)
# The first beta, times the reference's mean error: a log-ratio of half of that error is then a gain of 1.
START = 2.0
# The lowest beta, likewise: a policy whose error has trebled then has a gain of 1. Without this limit, beta falls while
# a policy runs away, and holds it less the further it has gone. That happens with pairs, where both images get worse.
MIN_BETA = 0.5
# The largest change in a step: beta takes 35 steps to halve, several times the span of MEMORY. So a run of a hundred
# steps may end before its gains are in the band.
RATE = 0.02
MEMORY = 0.9  # decay of the mean of past medians; one batch's median, of perhaps 8 images, is mostly noise
# Float32 errors carry about 1e-7 of their size: a median log-ratio below this is rounding.
ROUNDING = 1e-6


@runtime_checkable
class Beta(Protocol):
    """A rule for beta. While `looks` is true, `before` needs the reference's errors."""

    @property
    def looks(self) -> bool: ...

    def before(self, reference_error: Float[Tensor, "n"] | None) -> float | None:
        """Return the beta for a batch; None keeps that of the objective."""
        ...

    def after(self, distance: Float[Tensor, "n"], reference_error: Float[Tensor, "n"]) -> None:
        """Update the rule with the images of a judged batch: |gain| / beta, and the reference's errors."""
        ...

    def forget(self) -> None:
        """Drop the log-ratios so far, since the reference has changed."""
        ...

    def state(self) -> dict[str, float]: ...

    def restore(self, state: dict[str, float]) -> None: ...


class Fixed:
    """Keep the objective's own beta, if it has one."""

    looks = False

    def before(self, reference_error: Float[Tensor, "n"] | None) -> float | None:
        return None

    def after(self, distance: Float[Tensor, "n"], reference_error: Float[Tensor, "n"]) -> None:
        return None

    def forget(self) -> None:
        return None

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        return None


class Auto:
    """Begin at START / the reference's mean error, then follow the log-ratios, by at most RATE a step.

    At the first step the policy equals the reference. While log-ratios are 0, beta does not change. A `scale` of 4 aims
    at gains that are four times as large, and so at a beta four times as high.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.value = 0.0  # no beta yet
        self.least = 0.0
        self.mean = 0.0
        self.weight = 0.0

    @property
    def looks(self) -> bool:
        """Whether the first beta is still to be computed."""
        return not self.value

    def before(self, reference_error: Float[Tensor, "n"] | None) -> float | None:
        if self.looks and reference_error is not None and len(reference_error):
            error = max(float(reference_error.double().mean()), 1e-12)
            self.value, self.least = self.scale * START / error, self.scale * MIN_BETA / error
        return self.value or None

    def after(self, distance: Float[Tensor, "n"], reference_error: Float[Tensor, "n"]) -> None:
        if not self.value or not len(distance):  # no image of the batch was finite
            return
        median = float(distance.double().median())
        if median <= ROUNDING * float(reference_error.double().mean()):
            return
        # a mean of logarithms: a batch that is off by a factor of 100, as at the beginning, must not dominate for long
        self.mean = MEMORY * self.mean + (1 - MEMORY) * math.log(median)
        self.weight = MEMORY * self.weight + (1 - MEMORY)
        gain = self.value * math.exp(self.mean / self.weight) / self.scale
        wanted = min(max(gain, BAND[0]), BAND[1]) / gain
        self.value = max(self.least, self.value * min(max(wanted, 1 / (1 + RATE)), 1 + RATE))

    def forget(self) -> None:
        self.mean = self.weight = 0.0

    def state(self) -> dict[str, float]:
        return {"value": self.value, "least": self.least, "mean": self.mean, "weight": self.weight}

    def restore(self, state: dict[str, float]) -> None:
        self.value, self.least = state["value"], state["least"]
        self.mean, self.weight = state["mean"], state["weight"]
