"""Reference points: the log-ratio that feels like neither gain nor loss (the paper's Q_ref).

    batch        max(0, mean of log_ratio over the effective batch, all processes)  the code of arXiv 2404.04465
    mismatched   the same, with every image under its neighbour's prompt            the KL of KTO, arXiv 2402.01306
    balanced     (mean over liked + mean over disliked) / 2, of either sign         BCO's reward shift, 2404.04656
    running      max(0, exponential mean of past batches): known before a batch is judged
    zero         0, as in APO-zero and TGO

The paper's text asks for max(0, mean) over "a batch of unrelated pairs", as KTO does: nearer to `mismatched`. Its
code takes the very images that are judged; a neighbour's prompts came to it later, as an option without the max.

An estimator that looks at the current batch sees all of it, whatever the micro-batch or the number of processes:
the trainer scores everything first and then replays each part with the pooled value.
"""

from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

# what an estimator must be shown before a batch is judged: that batch, that batch under other prompts, or nothing
LooksAt = Literal["nothing", "batch", "mismatched"]


@runtime_checkable
class ReferencePoint(Protocol):
    """A named estimator. `looks_at` says what `before` must be given; it is given None where there was no image."""

    looks_at: LooksAt

    def before(self, log_ratio: Float[Tensor, "b"] | None, liked: Bool[Tensor, "b"] | None) -> float:
        """The reference point for a batch, given the pooled log-ratios of what it looks at, and the thumbs."""
        ...

    def after(self, log_ratio: Float[Tensor, "b"], liked: Bool[Tensor, "b"]) -> None:
        """Learn from a batch that has been judged."""
        ...

    def state(self) -> dict[str, float]: ...

    def restore(self, state: dict[str, float]) -> None: ...


def _mean(values: Float[Tensor, "b"]) -> float:
    return float(values.cpu().double().mean())


class Zero:
    """No reference point: any log-ratio above 0 is a gain."""

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
    """That of the paper's code: the mean over the whole effective batch, never below 0."""

    looks_at: LooksAt = "batch"

    def before(self, log_ratio: Float[Tensor, "b"] | None, liked: Bool[Tensor, "b"] | None) -> float:
        if log_ratio is None or not len(log_ratio):
            return 0.0
        return max(0.0, _mean(log_ratio))


class Mismatched(Batch):
    """KTO's: the same mean, over the images of the batch with prompts that are not theirs; two passes more."""

    looks_at: LooksAt = "mismatched"


class Balanced:
    """BCO's: half-way between the two kinds of thumb, however many there are of each; may lie below 0.

    A kind that a batch lacks keeps its last mean: taking 0 for it, as the official code does, would move the point.
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
    """A slow mean of past batches, never below 0; costs no second pass, and is kept in checkpoints."""

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
        if not len(log_ratio):  # no image of the batch was finite: nothing to learn
            return
        self.mean = self.decay * self.mean + (1 - self.decay) * _mean(log_ratio)
        # the weights given so far: dividing by it removes the pull of the first zero
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
