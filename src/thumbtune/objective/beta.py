"""How strongly the policy is held to the reference: a number, or one that follows the training.

    gain   = sign * beta * (log_ratio - reference_point)             objective.py
    auto   moves the median of |gain| towards [0.25, 2]      BAND, where a sigmoid neither is straight nor fades; times
                                                             `scale`, as all that it begins with and ends at

Log-ratios are differences of errors, so their size is that of the model's errors: a beta for the noise that SD 1.5
predicts is none for velocities, nor for another model. `Auto` asks for nothing but their size, and so works for all of
them: errors that are c times as large give a beta that is c times as small, and the same gains.
"""

import math
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

# sigmoid'(x) / sigmoid'(0) is 98% at 0.25 and 42% at 2: inside, most images teach, and one that is several times as far
# as the others is let go. It begins near the lower end: less bending gave better images (docs/paper.md).
BAND = (0.25, 2.0)
# The first beta, over 1 / the reference's mean error: a log-ratio of half of that error is then a gain of 1.
START = 2.0
# The least, likewise: there a policy whose error has trebled has a gain of 1. Without it a policy that runs away takes
# beta along, and is held the less the further it has gone: pairs, which share what is lost on both sides, do.
LEAST = 0.5
# A step's largest change: beta takes 35 steps to halve, several times the memory of MEMORY. So a run of a hundred steps
# may be over before its gains are in the band.
RATE = 0.02
MEMORY = 0.9  # decay of the mean of past medians; one batch's median, of perhaps 8 images, is mostly noise
# Float32 errors carry about 1e-7 of their size: a median log-ratio below this is rounding, not an opinion.
ROUNDING = 1e-6


@runtime_checkable
class Beta(Protocol):
    """A rule for beta. `before` must be shown the reference's errors where `looks` says so."""

    @property
    def looks(self) -> bool: ...

    def before(self, reference_error: Float[Tensor, "n"] | None) -> float | None:
        """The beta for a batch; None leaves the objective's own."""
        ...

    def after(self, distance: Float[Tensor, "n"], reference_error: Float[Tensor, "n"]) -> None:
        """Learn from a batch that has been judged: |gain| / beta, and the reference's errors, of its images."""
        ...

    def forget(self) -> None:
        """The reference has changed: log-ratios seen so far say nothing about those to come."""
        ...

    def state(self) -> dict[str, float]: ...

    def restore(self, state: dict[str, float]) -> None: ...


class Fixed:
    """The objective's own beta, if it has any."""

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
    """Begins at START over the reference's mean error, then follows the log-ratios, by at most RATE a step.

    At the first step the policy is the reference and there is no log-ratio to measure; while there is none, beta waits.
    A `scale` of 4 aims at gains that are four times as large, and so at a beta four times as high.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.value = 0.0  # no beta yet
        self.least = 0.0
        self.mean = 0.0
        self.weight = 0.0

    @property
    def looks(self) -> bool:
        """Whether the first beta must still be found."""
        return not self.value

    def before(self, reference_error: Float[Tensor, "n"] | None) -> float | None:
        if self.looks and reference_error is not None and len(reference_error):
            error = max(float(reference_error.double().mean()), 1e-12)
            self.value, self.least = self.scale * START / error, self.scale * LEAST / error
        return self.value or None

    def after(self, distance: Float[Tensor, "n"], reference_error: Float[Tensor, "n"]) -> None:
        if not self.value or not len(distance):  # no image of the batch was finite: nothing to learn
            return
        median = float(distance.double().median())
        if median <= ROUNDING * float(reference_error.double().mean()):
            return
        # the mean of logarithms: a batch a hundred times off, as at the beginning, must not set the scale for long
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
