"""Counting what is in a store: a few queries, whatever its size."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from thumbtune.feedback.store.tables import StoredImage, Vote
from thumbtune.feedback.store.votes import last_words, standing


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much the store holds; likes and dislikes count last words, `votes` counts every row."""

    images: int
    votes: int
    likes: int
    dislikes: int
    raters: int


@dataclass(frozen=True, kw_only=True)
class Variety:
    """How much of what the store holds is different: `several` are images under more than one prompt."""

    distinct_images: int
    prompts: int
    several: int


def busiest(session: Session, most: int | None = None) -> list[str]:
    """Those raters, or all, who liked and disliked most often, but for what they took back, most votes first."""
    voted = standing().where(Vote.kind != "skip").with_only_columns(Vote.rater).group_by(Vote.rater)
    return list(session.scalars(voted.order_by(func.count().desc(), Vote.rater).limit(most)))


def variety(session: Session) -> Variety:
    """How many different images and prompts there are."""
    shared = select(StoredImage.sha256).group_by(StoredImage.sha256).having(func.count() > 1).subquery()
    return Variety(
        distinct_images=session.scalar(select(func.count(StoredImage.sha256.distinct()))) or 0,
        prompts=session.scalar(select(func.count(StoredImage.prompt.distinct()))) or 0,
        several=session.scalar(select(func.count()).select_from(shared)) or 0,
    )


def counts(session: Session) -> Counts:
    """How many images, votes, likes, dislikes and raters there are."""
    last = last_words()
    by_kind = select(Vote.kind, func.count()).where(Vote.sequence.in_(last)).group_by(Vote.kind)
    kinds = {kind: number for kind, number in session.execute(by_kind)}
    return Counts(
        images=session.scalar(select(func.count(StoredImage.id))) or 0,
        votes=session.scalar(select(func.count(Vote.sequence))) or 0,
        likes=kinds.get("like", 0),
        dislikes=kinds.get("dislike", 0),
        raters=session.scalar(select(func.count(Vote.rater.distinct()))) or 0,
    )
