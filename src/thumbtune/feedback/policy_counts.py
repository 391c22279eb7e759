"""How many labels each policy would give, counted in the database: two queries, whatever the number of votes.

images      how many images have L likes and D dislikes, for each (L, D) that occurs
raters      how many likes and dislikes each rater has
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import case, func, select

from thumbtune.feedback.policies import POLICIES, RATER_PREFIX, decided
from thumbtune.feedback.store.order import latest_sequences
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import Vote


@dataclass(frozen=True, kw_only=True)
class PolicyCount:
    """What a policy gives: labels of each kind, and images that it leaves undecided."""

    policy: str
    likes: int
    dislikes: int
    undecided: int = 0


def policy_counts(store: Store) -> list[PolicyCount]:
    """Return the counts of each policy, then of each rater alone, those with most labels first."""
    likes, dislikes = (func.sum(case((Vote.kind == kind, 1), else_=0)) for kind in ("like", "dislike"))
    latest = Vote.sequence.in_(latest_sequences()), Vote.kind.in_(("like", "dislike"))
    by_image = select(likes.label("likes"), dislikes.label("dislikes")).where(*latest).group_by(Vote.picture_id)
    images = by_image.subquery()
    grouped = select(images.c.likes, images.c.dislikes, func.count()).group_by(images.c.likes, images.c.dislikes)
    by_rater = select(Vote.rater, likes, dislikes).where(*latest).group_by(Vote.rater)
    with store.reading() as session:
        votes = {(liked, disliked): number for liked, disliked, number in session.execute(grouped)}
        raters = [(rater, int(liked), int(disliked)) for rater, liked, disliked in session.execute(by_rater)]
    raters.sort(key=lambda row: (-row[1] - row[2], row[0]))
    alone = [PolicyCount(policy=f"{RATER_PREFIX}{name}", likes=a, dislikes=b) for name, a, b in raters]
    return [*_of_all(votes), *alone]


def _of_all(votes: Mapping[tuple[int, int], int]) -> Iterator[PolicyCount]:
    """Yield the counts of the policies over all raters: (likes, dislikes) of an image -> how many images have them."""
    for policy in POLICIES:
        if policy == "per-vote":
            likes, dislikes = (sum(pair[place] * number for pair, number in votes.items()) for place in (0, 1))
            yield PolicyCount(policy=policy, likes=int(likes), dislikes=int(dislikes))
            continue
        of = {True: 0, False: 0, None: 0}
        for (liked, disliked), number in votes.items():
            of[decided(liked, disliked, policy)] += number
        yield PolicyCount(policy=policy, likes=of[True], dislikes=of[False], undecided=of[None])
