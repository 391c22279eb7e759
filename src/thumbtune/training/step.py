"""The numbers of one weight update: a line of steps.jsonl."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

RENAMED = {"neutral": "reference_point", "refreshed": "synced"}  # in logs of earlier versions


def with_new_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of steps.jsonl with the present names of its numbers."""
    return {RENAMED.get(name, name): value for name, value in row.items()}


@dataclass(frozen=True, kw_only=True)
class Step:
    """The numbers of one weight update: means over the effective batch, None if it has no such image.

    *_high_noise, *_low_noise: the mean over images whose times lie in the upper and in the lower half of the process
    *_high_noise_share: the share of liked and of disliked images that lie in its upper half
    gain:       median of |gain| (saturation.py)
    saturation: share of images whose gradient weight is below FLAT_GRADIENT_WEIGHT, so that they teach almost nothing
    grad_norm:  before clipping; None if it was not finite, so that the weights are unchanged
    skipped:    images that were left out, since their error or loss was not finite
    synced:     whether the policy became the reference after this step
    agreement:  with held-out likes, an AUC; None for steps without a validation
    held_out_liked: how much better than the base held-out likes are denoised, as a share of its error; measured
                instead of agreement if the objective does not set likes against dislikes
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
    liked_log_ratio_high_noise: float | None = None
    liked_log_ratio_low_noise: float | None = None
    disliked_log_ratio_high_noise: float | None = None
    disliked_log_ratio_low_noise: float | None = None
    liked_high_noise_share: float | None = None
    disliked_high_noise_share: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as in steps.jsonl."""
        return asdict(self)
