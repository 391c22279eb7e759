"""Label policies: the votes of several raters on an image -> the label that training sees.

majority      the vote of most raters; a tie gives no row
unanimous     the vote of all raters; no row if they differ
any-dislike   a dislike if at least one rater dislikes it
per-vote      a row for every rater, with their weight
rater:NAME    the vote of one rater
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from thumbtune.errors import UsageError
from thumbtune.feedback.store.labels import Label

POLICIES = ("majority", "unanimous", "any-dislike", "per-vote")
RATER_PREFIX = "rater:"
COMBINED = re.compile(rf"({'|'.join(POLICIES)}) of (\d+)")  # the rater of a label that several raters made


@dataclass(kw_only=True)
class Undecided:
    """Counts the images that a policy gave no label: a tie, or (unanimous) raters who differ."""

    images: int = 0


def check_policy(policy: str) -> str:
    """Return the policy if it exists.

    Raises:
        UsageError: the policy does not exist; the message lists those that do.
    """
    if policy not in POLICIES and not (policy.startswith(RATER_PREFIX) and policy.removeprefix(RATER_PREFIX).strip()):
        raise UsageError(
            f"There is no label policy {policy!r}; choose {', '.join(POLICIES)} or {RATER_PREFIX}NAME.",
            code="policy-unknown",
        )
    return policy


def apply_policy(labels: Iterable[Label], policy: str, undecided: Undecided | None = None) -> Iterator[Label]:
    """Yield the labels under a policy; `labels` has each image's together, and `undecided` counts those without."""
    check_policy(policy)
    if policy == "per-vote":
        yield from labels
        return
    if policy.startswith(RATER_PREFIX):
        yield from (label for label in labels if label.rater == policy.removeprefix(RATER_PREFIX))
        return
    for _, group in groupby(labels, key=attrgetter("image.id")):
        of_image = list(group)
        winners = _winners(of_image, policy)
        if winners:
            yield combine(winners, raters=len(of_image), policy=policy)
        elif undecided is not None:
            undecided.images += 1


def _winners(labels: Sequence[Label], policy: str) -> Sequence[Label]:
    """Return the labels of one image that decide; an empty list if the image is undecided."""
    if len(labels) == 1:  # which decides under each policy
        return labels
    likes = [label for label in labels if label.liked]
    dislikes = [label for label in labels if not label.liked]
    return {True: likes, False: dislikes, None: []}[decided(len(likes), len(dislikes), policy)]


def decided(likes: int, dislikes: int, policy: str) -> bool | None:
    """Return whether a judged image is liked, by the numbers of its votes; None if it is undecided.

    >>> [decided(2, 1, policy) for policy in ("majority", "unanimous", "any-dislike")]
    [True, None, False]
    """
    if policy == "any-dislike":
        return not dislikes
    if policy == "unanimous":
        return None if likes and dislikes else not dislikes
    return likes > dislikes if likes != dislikes else None


def combined_raters(rater: str) -> int | None:
    """Return how many raters a label is of, by the name of its rater; None for the name of one.

    >>> combined_raters("majority of 4"), combined_raters("ann")
    (4, None)
    """
    found = COMBINED.fullmatch(rater)
    return None if found is None else int(found[2])


def combine(winners: Sequence[Label], raters: int, policy: str = "majority") -> Label:
    """Return the newest of equal labels, with the mean of their weights and grades."""
    if raters == 1:
        return winners[0]
    newest = max(winners, key=lambda label: label.order)
    grades = [label.grade for label in winners if label.grade is not None]
    return replace(
        newest,
        rater=f"{policy} of {raters}",
        weight=sum(label.weight for label in winners) / len(winners),
        grade=sum(grades) / len(grades) if grades else None,
    )
