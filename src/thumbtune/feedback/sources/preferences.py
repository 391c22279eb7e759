"""Turn comparisons of two images into a label for each: liked, disliked, or left out.

    class            of the comparisons it was in, the image won    w_l         wi_l        w_il
    exclusive_win    every one                                      liked       liked       liked
    intersections    some and not others ("intermediate")           left out    liked       disliked
    exclusive_lose   none                                           disliked    disliked    disliked

Classes and policies are named as in the authors' code, where the column `split` holds the class and the policies are
`gt_label_w_l`, `gt_label_wi_l` and `gt_label_w_il`. The paper's own is wi_l: an image that was preferred at least once
is desirable. A tie counts neither as won nor as lost, so an image that only tied has no class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.source import PairPolicy

ComparisonResult = Literal["a", "b", "tie"]
ImageClass = Literal["exclusive_win", "intersections", "exclusive_lose"]
IMAGE_CLASSES: tuple[ImageClass, ...] = get_args(ImageClass)
Labels = Mapping[ImageClass, bool | None]

LABELS: Mapping[PairPolicy, Labels] = {
    "w_l": {"exclusive_win": True, "intersections": None, "exclusive_lose": False},
    "wi_l": {"exclusive_win": True, "intersections": True, "exclusive_lose": False},
    "w_il": {"exclusive_win": True, "intersections": False, "exclusive_lose": False},
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two images of one prompt, by name, and which of them somebody found better."""

    prompt: str
    a: str
    b: str
    result: ComparisonResult
    user: str | None = None


def class_of(wins: int, losses: int) -> ImageClass | None:
    """Return the class of an image with this many wins and losses; None if it only tied.

    >>> class_of(2, 0), class_of(2, 1), class_of(0, 1), class_of(0, 0)
    ('exclusive_win', 'intersections', 'exclusive_lose', None)
    """
    if wins and losses:
        return "intersections"
    return "exclusive_win" if wins else "exclusive_lose" if losses else None


def labels_under(policy: PairPolicy) -> Labels:
    """Return which classes are liked (True), disliked (False) or left out (None).

    Raises:
        ThumbtuneError: there is no such policy.
    """
    if policy not in LABELS:
        raise ThumbtuneError(
            f"{policy!r} is not a policy for comparisons; choose {', '.join(LABELS)}.", code="pair-policy-unknown"
        )
    return LABELS[policy]


@dataclass(frozen=True, kw_only=True)
class ComparisonCounts:
    """The number of comparisons, and of images of each class.

    comparisons: rows in which one image is better
    ties:        rows in which neither is
    unlabelled:  rows that nobody has judged
    alike:       rows that show one image twice
    unusable:    rows with an error
    only_tied:   images without a class, as they only tied
    """

    policy: PairPolicy
    comparisons: int = 0
    ties: int = 0
    unlabelled: int = 0
    alike: int = 0
    unusable: int = 0
    exclusive_win: int = 0
    intersections: int = 0
    exclusive_lose: int = 0
    only_tied: int = 0

    @property
    def likes(self) -> int:
        """The number of images that the policy labels as liked."""
        return self._labelled(True)

    @property
    def dislikes(self) -> int:
        """The number of images that the policy labels as disliked."""
        return self._labelled(False)

    @property
    def left_out(self) -> int:
        """The number of images without a class, or of one that the policy leaves out."""
        return self.only_tied + self._labelled(None)

    @property
    def liked_share(self) -> float | None:
        """The share of likes among likes and dislikes; None if there are neither."""
        rows = self.likes + self.dislikes
        return self.likes / rows if rows else None

    def _labelled(self, label: bool | None) -> int:
        labels = labels_under(self.policy)
        return sum(getattr(self, split) for split in IMAGE_CLASSES if labels[split] is label)
