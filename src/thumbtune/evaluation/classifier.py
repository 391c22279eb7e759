"""The implicit reward as a classifier of held-out thumbs: how well it tells likes from dislikes, of all and per rater.

    AUC                how often a like has a higher reward than a dislike; no threshold has to be chosen
    accuracy           how often the sign of the reward is right: above 0, the tuned model finds it likelier than before
    base rate          the accuracy of always naming the commoner thumb
    balanced accuracy  the mean of the accuracy on likes and of that on dislikes     Brodersen et al. 2010

The AUC comes first. An implicit reward is known up to a constant of each prompt (Rafailov et al. 2023, eq. 5), so that
0 is its natural threshold and not always its best one; and a model that finds every image likelier than before has the
share of likes as its accuracy. Of the two accuracies the balanced one is the more honest: whoever gives the same answer
to everything has one half, whatever the base rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation import statistics
from thumbtune.evaluation.gates import MIN_PROMPTS

MOST_RATERS = 20  # with a row of their own: those with the most thumbs
UNDECIDED = 0.5  # the worth of an answer at the threshold itself, which names neither kind


@dataclass(frozen=True)
class Thumbs:
    """Thumbs on the images that the model was asked about: columns of one length, a thumb in each row.

    image: [n], the place of the image among the rewards
    liked: [n], true for a like
    raters: [n], who gave it; empty where a label is nobody's own
    """

    image: Int[np.ndarray, "n"]
    liked: Bool[np.ndarray, "n"]
    raters: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.liked)


def agreement(
    reward: Float[np.ndarray, "images"], prompts: Sequence[str], labels: Thumbs, votes: Thumbs
) -> dict[str, Any]:
    """What `classified` says of the labels, and of each rater's own thumbs, as plain JSON.

    Args:
        reward: [images], the implicit reward of each image, asked for once, whoever rated it.
        prompts: [images], the prompt of each.
        labels: the thumbs that the label policy made of what people said.
        votes: each rater's own thumbs; may be of images that no label is of.

    Raises:
        ThumbtuneError: a reward is not finite, the lengths differ, or the labels are not of both kinds.
    """
    if len(prompts) != len(reward):
        raise ThumbtuneError(f"There are {len(reward)} rewards but {len(prompts)} prompts; give one prompt for each.")
    if len(votes.raters) != len(votes):
        raise ThumbtuneError(f"There are {len(votes)} votes but {len(votes.raters)} raters; give one rater for each.")
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    prompt_of = np.array([numbers[prompt] for prompt in prompts], dtype=np.int64)
    return {**classified(reward, prompt_of, labels), **by_rater(reward, prompt_of, votes)}


def classified(
    reward: Float[np.ndarray, "images"], prompt_of: Int[np.ndarray, "images"], thumbs: Thumbs
) -> dict[str, float | int]:
    """AUC, accuracy and balanced accuracy of thumbs, each with the 95% interval of whole prompts drawn again.

    Args:
        reward: [images], the implicit reward.
        prompt_of: [images], a number for each prompt.
        thumbs: of both kinds, on some of the images.

    Raises:
        ThumbtuneError: a reward is not finite, or the thumbs are of one kind.
    """
    score, liked, prompt = reward[thumbs.image], thumbs.liked, prompt_of[thumbs.image]
    correct = np.where(score == 0, UNDECIDED, (score > 0) == liked)
    auc, interval = statistics.auc(score, liked), statistics.auc_interval(score, liked, prompt)
    accuracy, around = statistics.accuracy(correct, prompt)
    balanced, around_balanced = statistics.balanced_accuracy(correct, liked, prompt)
    likes = int(liked.sum())
    return {
        "auc": auc,
        "low": interval.low,
        "high": interval.high,
        "images": len(np.unique(thumbs.image)),
        "thumbs": len(thumbs),  # more than images where the label policy keeps each vote
        "liked": likes,
        "prompts": len(np.unique(prompt)),
        "accuracy": accuracy,
        "accuracy_low": around.low,
        "accuracy_high": around.high,
        "base_rate": max(likes, len(thumbs) - likes) / len(thumbs),
        "balanced_accuracy": balanced,
        "balanced_accuracy_low": around_balanced.low,
        "balanced_accuracy_high": around_balanced.high,
    }


def by_rater(
    reward: Float[np.ndarray, "images"], prompt_of: Int[np.ndarray, "images"], votes: Thumbs
) -> dict[str, Any]:
    """`classified` of each rater's own thumbs, most thumbs first, and how many raters have no row and why.

    Pages are passed on, so raters are called by their place in that order, "rater 1" first, and never by name.

    Returns:
        `raters`, the rows, and `raters_left_out`: raters whose thumbs are of `one_kind`, those with both kinds on
        `few_prompts` (below MIN_PROMPTS), and the `rest` after the first MOST_RATERS rows.

    Raises:
        ThumbtuneError: a reward is not finite.
    """
    places: dict[str, list[int]] = {}
    for place, rater in enumerate(votes.raters):
        places.setdefault(rater, []).append(place)
    rows: list[dict[str, Any]] = []
    left_out = {"one_kind": 0, "few_prompts": 0, "rest": 0}
    for rater in sorted(places, key=lambda rater: (-len(places[rater]), rater)):
        own = Thumbs(votes.image[places[rater]], votes.liked[places[rater]])
        if own.liked.all() or not own.liked.any():
            left_out["one_kind"] += 1
        elif len(np.unique(prompt_of[own.image])) < MIN_PROMPTS:
            left_out["few_prompts"] += 1
        elif len(rows) == MOST_RATERS:
            left_out["rest"] += 1
        else:
            rows.append({"rater": f"rater {len(rows) + 1}", **classified(reward, prompt_of, own)})
    return {"raters": rows, "raters_left_out": left_out}


def line_of(found: Mapping[str, Any]) -> str:
    """What `agreement` found, as a line for people; without intervals where the prompts are too few for them."""

    def with_interval(name: str, low: str, high: str) -> str:
        interval = f" ({found[low]:.0%} to {found[high]:.0%})" if found["prompts"] >= MIN_PROMPTS else ""
        return f"{found[name]:.0%}{interval}"

    raters = [row["auc"] for row in found["raters"]]
    each = f" AUC of {len(raters)} raters: {min(raters):.0%} to {max(raters):.0%}." if len(raters) > 1 else ""
    return (
        f"Held-out thumbs: AUC {with_interval('auc', 'low', 'high')}; "
        f"accuracy {with_interval('accuracy', 'accuracy_low', 'accuracy_high')}, base rate {found['base_rate']:.0%}; "
        f"balanced accuracy {with_interval('balanced_accuracy', 'balanced_accuracy_low', 'balanced_accuracy_high')}."
        f"{each}"
    )
