"""Reference points: the log-ratio that feels like neither gain nor loss (the paper's Q_ref).

    batch     max(0, mean of log_ratio over the effective batch, all processes)   arXiv 2404.04465, section 4.1
    running   max(0, exponential mean of past batches): known before a batch is judged
    zero      0, as in APO-zero and TGO

An estimator that looks at the current batch sees all of it, whatever the micro-batch or the number of processes:
the trainer scores everything first and then replays each part with the pooled value.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Neutral(Protocol):
    """A named estimator. `looks_at_batch` says whether `before` needs the log-ratios of the batch to come."""

    looks_at_batch: bool

    def before(self, log_ratio: Float[Tensor, "b"] | None) -> float:
        """The neutral point for a batch, given its pooled log-ratios where `looks_at_batch`."""
        ...

    def after(self, log_ratio: Float[Tensor, "b"]) -> None:
        """Learn from a batch that has been judged."""
        ...

    def state(self) -> dict[str, float]: ...

    def restore(self, state: dict[str, float]) -> None: ...


class Zero:
    """No reference point: any log-ratio above 0 is a gain."""

    looks_at_batch = False

    def before(self, log_ratio: Float[Tensor, "b"] | None) -> float:
        return 0.0

    def after(self, log_ratio: Float[Tensor, "b"]) -> None:
        return None

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        return None


class Batch(Zero):
    """The paper's: the mean over the whole effective batch, never below 0."""

    looks_at_batch = True

    def before(self, log_ratio: Float[Tensor, "b"] | None) -> float:
        if log_ratio is None or not len(log_ratio):
            return 0.0
        return max(0.0, float(log_ratio.cpu().double().mean()))


class Running:
    """A slow mean of past batches, never below 0; costs no second pass, and is kept in checkpoints."""

    looks_at_batch = False

    def __init__(self, decay: float = 0.95) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), not {decay}; try 0.95.")
        self.decay = decay
        self.mean = 0.0
        self.weight = 0.0

    def before(self, log_ratio: Float[Tensor, "b"] | None) -> float:
        return max(0.0, self.mean / self.weight) if self.weight else 0.0

    def after(self, log_ratio: Float[Tensor, "b"]) -> None:
        if not len(log_ratio):  # no image of the batch was finite: nothing to learn
            return
        self.mean = self.decay * self.mean + (1 - self.decay) * float(log_ratio.cpu().double().mean())
        # the weights given so far: dividing by it removes the pull of the first zero
        self.weight = self.decay * self.weight + (1 - self.decay)

    def state(self) -> dict[str, float]:
        return {"mean": self.mean, "weight": self.weight}

    def restore(self, state: dict[str, float]) -> None:
        self.mean, self.weight = state["mean"], state["weight"]


NEUTRALS: dict[str, type[Zero] | type[Batch] | type[Running]] = {"batch": Batch, "running": Running, "zero": Zero}


def pooled(parts: list[Float[Tensor, "_"]]) -> Float[Tensor, "b"]:
    """The finite log-ratios of all micro-batches, in order: a broken image must not move the reference point."""
    together = torch.cat(parts) if parts else torch.zeros(0)
    return together[together.isfinite()]
