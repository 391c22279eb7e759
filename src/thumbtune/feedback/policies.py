"""What several people say of an image -> the label that training sees.

majority      what most of its raters say; a tie gives no row
unanimous     what all of them say; where they differ, no row
any-dislike   a dislike as soon as one rater dislikes it
per-vote      a row for every rater, with their weight
rater:NAME    what one rater says, whoever else says what
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from thumbtune.errors import UsageError
from thumbtune.feedback.store.store import Opinion

POLICIES = ("majority", "unanimous", "any-dislike", "per-vote")
ONE = "rater:"


@dataclass(kw_only=True)
class Tally:
    """Images that a policy gave no label: as many for as against, or (unanimous) not all of one mind."""

    undecided: int = 0


def check_policy(policy: str) -> str:
    """The policy, if there is such a one.

    Raises:
        UsageError: there is not; it lists those that there are.
    """
    if policy not in POLICIES and not (policy.startswith(ONE) and policy.removeprefix(ONE).strip()):
        raise UsageError(f"There is no label policy {policy!r}; choose {', '.join(POLICIES)} or {ONE}NAME.")
    return policy


def labelled(opinions: Iterable[Opinion], policy: str, tally: Tally | None = None) -> Iterator[Opinion]:
    """The rows of a policy, from last words that keep an image's together; `tally` counts what has none."""
    check_policy(policy)
    if policy == "per-vote":
        yield from opinions
        return
    if policy.startswith(ONE):
        yield from (opinion for opinion in opinions if opinion.rater == policy.removeprefix(ONE))
        return
    for _, group in groupby(opinions, key=lambda opinion: opinion.image.id):
        said = list(group)
        winners = _winners(said, policy)
        if winners:
            yield together(winners, raters=len(said), policy=policy)
        elif tally is not None:
            tally.undecided += 1


def _winners(said: Sequence[Opinion], policy: str) -> list[Opinion]:
    """Those whose word is the label; none where there is none."""
    likes = [opinion for opinion in said if opinion.liked]
    dislikes = [opinion for opinion in said if not opinion.liked]
    if policy == "any-dislike":
        return dislikes or likes
    if policy == "unanimous":
        return likes + dislikes if not (likes and dislikes) else []
    return max(likes, dislikes, key=len) if len(likes) != len(dislikes) else []


def together(winners: Sequence[Opinion], raters: int, policy: str = "majority") -> Opinion:
    """What those who agree say as one: the last of them, with the mean of their weights and grades."""
    last = max(winners, key=lambda opinion: opinion.created_at)
    grades = [opinion.grade for opinion in winners if opinion.grade is not None]
    return replace(
        last,
        rater=last.rater if raters == 1 else f"{policy} of {raters}",
        weight=sum(opinion.weight for opinion in winners) / len(winners),
        grade=sum(grades) / len(grades) if grades else None,
    )
