"""What a training reports of one weight update: a line of steps.jsonl."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

RENAMED = {"neutral": "reference_point", "refreshed": "synced"}  # in logs of earlier versions


def with_new_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of steps.jsonl with today's names of its numbers."""
    return {RENAMED.get(name, name): value for name, value in row.items()}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one weight update looked like. Means over the effective batch; None where it held no such image.

    gain:       median of |gain|: how far images have gone (pull.py)
    saturation: share of images that hardly pull any more, less than FLAT of what they would without a gain (pull.py)
    grad_norm:  before clipping; None where the step was broken and left the weights as they were
    skipped:    images that taught nothing: their error, or what the objective made of it, was not finite
    synced:     whether the policy became the reference after this step
    agreement:  with held-out likes, an AUC, on the steps at which somebody measured it
    held_out_liked: how much better held-out likes are denoised than by the base, as a share of its error; measured in
                the place of agreement where likes and dislikes are not set against each other
    """

    step: int
    loss: float | None
    liked_log_ratio: float | None
    disliked_log_ratio: float | None
    reference_point: float | None
    policy_error: float | None
    reference_error: float | None
    beta: float | None
    gain: float | None
    saturation: float | None
    grad_norm: float | None
    lr: float
    skipped: int
    seconds: float
    synced: bool = False
    agreement: float | None = None
    held_out_liked: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as they are written to steps.jsonl."""
        return asdict(self)
