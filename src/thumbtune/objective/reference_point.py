"""Reference points: the log-ratio that is neither a gain nor a loss (the paper's Q_ref).

    batch        max(0, mean of log_ratio over the effective batch, all processes)  the code of arXiv 2404.04465
    mismatched   the same, with every image under its neighbour's prompt            the KL of KTO, arXiv 2402.01306
    balanced     (mean over liked + mean over disliked) / 2, of either sign         BCO's reward shift, 2404.04656
    running      max(0, exponential mean of past batches): known before a batch is judged
    zero         0, as in APO-zero and TGO

The paper's text asks for max(0, mean) over "a batch of unrelated pairs", as KTO does; `mismatched` is nearer to that.
The paper's code takes the images that are judged. A later version has neighbours' prompts as an option, without max.

An estimator that reads the current batch reads all of it, whatever the micro-batch or the number of processes: the
trainer scores all parts first and then replays each with the pooled value.
"""

from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

# what an estimator reads before a batch is judged: that batch, that batch under other prompts, or nothing
LooksAt = Literal["nothing", "batch", "mismatched"]


@runtime_checkable
class ReferencePoint(Protocol):
    """An estimator. `before` gets the log-ratios that `looks_at` names, or None if there was no image."""

    looks_at: LooksAt

    def before(self, log_ratio: Float[Tensor, "b"] | None, liked: Bool[Tensor, "b"] | None) -> float:
        """Return the reference point for a batch, from the pooled log-ratios and labels."""
        ...

    def after(self, log_ratio: Float[Tensor, "b"], liked: Bool[Tensor, "b"]) -> None:
        """Update the estimate with a judged batch."""
        ...

    def state(self) -> dict[str, float]: ...

    def restore(self, state: dict[str, float]) -> None: ...


def _mean(values: Float[Tensor, "b"]) -> float:
    return float(values.cpu().double().mean())


class Zero:
    """A reference point of 0: any log-ratio above 0 is a gain."""

    looks_at: LooksAt = "nothing"

    def before(self, log_ratio: Float[Tensor, "b"] | None, liked: Bool[Tensor, "b"] | None) -> float:
        return 0.0

    def after(self, log_ratio: Float[Tensor, "b"], liked: Bool[Tensor, "b"]) -> None:
        return None

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        return None


class Batch(Zero):
    """The estimator of the paper's code: the mean over the whole effective batch, at least 0."""

    looks_at: LooksAt = "batch"

    def before(self, log_ratio: Float[Tensor, "b"] | None, liked: Bool[Tensor, "b"] | None) -> float:
        if log_ratio is None or not len(log_ratio):
            return 0.0
        return max(0.0, _mean(log_ratio))


class Mismatched(Batch):
    """The estimator of KTO: the same mean, over the batch's images with other prompts. It needs two more passes."""

    looks_at: LooksAt = "mismatched"


class Balanced:
    """The estimator of BCO: half-way between the means of likes and of dislikes; it may be below 0.

    If a batch lacks a kind, its last mean is used. The official code uses 0, which would move the point.
    """

    looks_at: LooksAt = "batch"

    def __init__(self) -> None:
        self.liked = 0.0
        self.disliked = 0.0

    def before(self, log_ratio: Float[Tensor, "b"] | None, liked: Bool[Tensor, "b"] | None) -> float:
        return sum(self._means(log_ratio, liked)) / 2

    def after(self, log_ratio: Float[Tensor, "b"], liked: Bool[Tensor, "b"]) -> None:
        self.liked, self.disliked = self._means(log_ratio, liked)

    def _means(self, log_ratio: Tensor | None, liked: Tensor | None) -> tuple[float, float]:
        if log_ratio is None or liked is None:
            return self.liked, self.disliked
        good, bad = log_ratio[liked], log_ratio[~liked]
        return (_mean(good) if len(good) else self.liked), (_mean(bad) if len(bad) else self.disliked)

    def state(self) -> dict[str, float]:
        return {"liked": self.liked, "disliked": self.disliked}

    def restore(self, state: dict[str, float]) -> None:
        self.liked, self.disliked = state["liked"], state["disliked"]


class Running:
    """A slow mean of past batches, at least 0; it needs no second pass, and is saved in checkpoints."""

    looks_at: LooksAt = "nothing"

    def __init__(self, decay: float = 0.95) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), not {decay}; try 0.95.")
        self.decay = decay
        self.mean = 0.0
        self.weight = 0.0

    def before(self, log_ratio: Float[Tensor, "b"] | None, liked: Bool[Tensor, "b"] | None) -> float:
        return max(0.0, self.mean / self.weight) if self.weight else 0.0

    def after(self, log_ratio: Float[Tensor, "b"], liked: Bool[Tensor, "b"]) -> None:
        if not len(log_ratio):  # no image of the batch was finite
            return
        self.mean = self.decay * self.mean + (1 - self.decay) * _mean(log_ratio)
        # the sum of the weights so far: dividing by it removes the bias towards the first 0
        self.weight = self.decay * self.weight + (1 - self.decay)

    def state(self) -> dict[str, float]:
        return {"mean": self.mean, "weight": self.weight}

    def restore(self, state: dict[str, float]) -> None:
        self.mean, self.weight = state["mean"], state["weight"]


REFERENCE_POINTS: dict[str, type[Zero] | type[Batch] | type[Mismatched] | type[Balanced] | type[Running]] = {
    "batch": Batch,
    "mismatched": Mismatched,
    "balanced": Balanced,
    "running": Running,
    "zero": Zero,
}
