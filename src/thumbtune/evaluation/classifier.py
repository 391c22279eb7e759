"""Agreement of the implicit reward with held-out labels: its quality as a classifier, overall and per rater.

    AUC                share of pairs with a higher reward on the liked than on the disliked image; needs no threshold
    accuracy           share of correct signs of the reward: above 0, tuning made the image more likely
    base rate          the accuracy of always predicting the more frequent label
    balanced accuracy  the mean of the accuracy on likes and of that on dislikes     Brodersen et al. 2010

The AUC comes first. The implicit reward is defined up to a constant per prompt (Rafailov et al. 2023, eq. 5), so its
threshold 0 is natural but not always best. A model that makes every image more likely has the share of likes as its
accuracy, but a balanced accuracy of 1/2: a constant prediction always scores 1/2 there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation import statistics
from thumbtune.feedback.enough import MIN_PROMPTS

MAX_RATER_ROWS = 20  # for the raters with the most votes
TIE_CREDIT = 0.5  # accuracy of a reward of exactly 0


@dataclass(frozen=True)
class HeldOutLabels:
    """Labels or votes on held-out images: columns of equal length.

    image: [n], the index of the image in the rewards
    liked: [n], true for a like
    raters: [n], the rater of each vote; empty for labels, which several raters may share
    """

    image: Int[np.ndarray, "n"]
    liked: Bool[np.ndarray, "n"]
    raters: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.liked)


def measure_agreement(
    reward: Float[np.ndarray, "images"], prompts: Sequence[str], labels: HeldOutLabels, votes: HeldOutLabels
) -> dict[str, Any]:
    """Return `classification_scores` of the labels and `scores_by_rater` of the votes, as plain JSON.

    Args:
        reward: [images], the implicit reward of each image.
        prompts: [images], the prompt of each.
        labels: the labels that the label policy made from the votes.
        votes: each rater's own votes; their images may have no label.

    Raises:
        ThumbtuneError: a reward is not finite, the lengths differ, or the labels are all likes or all dislikes.
    """
    if len(prompts) != len(reward):
        raise ThumbtuneError(
            f"There are {len(reward)} rewards but {len(prompts)} prompts; give one prompt for each reward.",
            code="agreement-length-mismatch",
        )
    if len(votes.raters) != len(votes):
        raise ThumbtuneError(
            f"There are {len(votes)} votes but {len(votes.raters)} raters; give one rater for each vote.",
            code="agreement-raters-mismatch",
        )
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    prompt_of = np.array([numbers[prompt] for prompt in prompts], dtype=np.int64)
    return {**classification_scores(reward, prompt_of, labels), **scores_by_rater(reward, prompt_of, votes)}


def classification_scores(
    reward: Float[np.ndarray, "images"], prompt_of: Int[np.ndarray, "images"], labels: HeldOutLabels
) -> dict[str, float | int]:
    """Return AUC, accuracy and balanced accuracy, each with a 95% bootstrap interval over whole prompts.

    Args:
        reward: [images], the implicit reward.
        prompt_of: [images], the number of its prompt.
        labels: likes and dislikes of some of the images.

    Raises:
        ThumbtuneError: a reward is not finite, or the labels are all likes or all dislikes.
    """
    score, liked, prompt = reward[labels.image], labels.liked, prompt_of[labels.image]
    correct = np.where(score == 0, TIE_CREDIT, (score > 0) == liked)
    auc, interval = statistics.auc(score, liked), statistics.auc_interval(score, liked, prompt)
    accuracy, accuracy_interval = statistics.accuracy(correct, prompt)
    balanced, balanced_interval = statistics.balanced_accuracy(correct, liked, prompt)
    likes = int(liked.sum())
    return {
        "auc": auc,
        "low": interval.low,
        "high": interval.high,
        "images": len(np.unique(labels.image)),
        "labels": len(labels),  # exceeds `images` if the label policy keeps each vote
        "liked": likes,
        "prompts": len(np.unique(prompt)),
        "accuracy": accuracy,
        "accuracy_low": accuracy_interval.low,
        "accuracy_high": accuracy_interval.high,
        "base_rate": max(likes, len(labels) - likes) / len(labels),
        "balanced_accuracy": balanced,
        "balanced_accuracy_low": balanced_interval.low,
        "balanced_accuracy_high": balanced_interval.high,
    }


def scores_by_rater(
    reward: Float[np.ndarray, "images"], prompt_of: Int[np.ndarray, "images"], votes: HeldOutLabels
) -> dict[str, Any]:
    """Return `classification_scores` of each rater's votes, most votes first, and counts of raters without a row.

    Reports are shared, so raters are numbered in that order ("rater 1" first) and never named.

    Returns:
        `raters`, the rows, and `raters_left_out`, counts: `one_kind`, with only likes or only dislikes; `few_prompts`,
        with fewer than MIN_PROMPTS prompts; `rest`, after the first MAX_RATER_ROWS rows.

    Raises:
        ThumbtuneError: a reward is not finite.
    """
    rows_of: dict[str, list[int]] = {}
    for row, rater in enumerate(votes.raters):
        rows_of.setdefault(rater, []).append(row)
    rows: list[dict[str, Any]] = []
    left_out = {"one_kind": 0, "few_prompts": 0, "rest": 0}
    for rater in sorted(rows_of, key=lambda rater: (-len(rows_of[rater]), rater)):
        own = HeldOutLabels(votes.image[rows_of[rater]], votes.liked[rows_of[rater]])
        if own.liked.all() or not own.liked.any():
            left_out["one_kind"] += 1
        elif len(np.unique(prompt_of[own.image])) < MIN_PROMPTS:
            left_out["few_prompts"] += 1
        elif len(rows) == MAX_RATER_ROWS:
            left_out["rest"] += 1
        else:
            rows.append({"rater": f"rater {len(rows) + 1}", **classification_scores(reward, prompt_of, own)})
    return {"raters": rows, "raters_left_out": left_out}


def format_agreement(scores: Mapping[str, Any]) -> str:
    """Return `measure_agreement` as one line for people, without intervals if there are too few prompts."""

    def with_interval(name: str, low: str, high: str, form: str = ".0%") -> str:
        interval = f" ({scores[low]:{form}} to {scores[high]:{form}})" if scores["prompts"] >= MIN_PROMPTS else ""
        return f"{scores[name]:{form}}{interval}"

    raters = [row["auc"] for row in scores["raters"]]
    each = f" AUC of {len(raters)} raters: {min(raters):.2f} to {max(raters):.2f}." if len(raters) > 1 else ""
    return (
        f"Held-out labels: AUC {with_interval('auc', 'low', 'high', '.2f')}; "
        f"accuracy {with_interval('accuracy', 'accuracy_low', 'accuracy_high')}, base rate {scores['base_rate']:.0%}; "
        f"balanced accuracy {with_interval('balanced_accuracy', 'balanced_accuracy_low', 'balanced_accuracy_high')}."
        f"{each}"
    )
