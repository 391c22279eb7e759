"""Count what a store contains, with a few queries whatever its size."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from thumbtune.feedback.store.order import latest_sequences, standing_votes
from thumbtune.feedback.store.tables import DamagedCell, StoredImage, Vote


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The size of a store; likes and dislikes count latest votes, `votes` counts every row."""

    images: int
    votes: int
    likes: int
    dislikes: int
    raters: int


@dataclass(frozen=True, kw_only=True)
class Variety:
    """The numbers of distinct images, of distinct prompts, and of images that have several prompts."""

    distinct_images: int
    prompts: int
    multi_prompt_images: int


def busiest_raters(session: Session, limit: int | None = None) -> list[str]:
    """Return the raters with the most likes and dislikes that were not undone, most first; all without a limit."""
    voted = standing_votes().where(Vote.kind != "skip").with_only_columns(Vote.rater).group_by(Vote.rater)
    return list(session.scalars(voted.order_by(func.count().desc(), Vote.rater).limit(limit)))


def skips(session: Session) -> int:
    """Return how many latest votes are skips."""
    skipped = select(func.count()).where(Vote.sequence.in_(latest_sequences()), Vote.kind == "skip")
    return session.scalar(skipped) or 0


def extent(session: Session) -> tuple[int, int | None]:
    """Return the number of votes, and the place of the last one."""
    count, last = session.execute(select(func.count(Vote.sequence), func.max(Vote.sequence))).one()
    return count, last


def prompts(session: Session, newest: int) -> Iterator[str]:
    """Yield the prompt of each image whose id is at most `newest`.

    Raises:
        DamagedCell: a prompt is not text.
    """
    stored = select(StoredImage.prompt).where(StoredImage.id <= newest)
    for prompt in session.scalars(stored.execution_options(yield_per=1000)):
        if type(prompt) is not str:
            raise DamagedCell("an image has no prompt that is text")
        yield prompt


def variety(session: Session) -> Variety:
    """Return how many distinct images and prompts there are."""
    shared = select(StoredImage.sha256).group_by(StoredImage.sha256).having(func.count() > 1).subquery()
    return Variety(
        distinct_images=session.scalar(select(func.count(StoredImage.sha256.distinct()))) or 0,
        prompts=session.scalar(select(func.count(StoredImage.prompt.distinct()))) or 0,
        multi_prompt_images=session.scalar(select(func.count()).select_from(shared)) or 0,
    )


def counts(session: Session) -> Counts:
    """Return how many images, votes, likes, dislikes and raters there are."""
    by_kind = select(Vote.kind, func.count()).where(Vote.sequence.in_(latest_sequences())).group_by(Vote.kind)
    kinds = {kind: number for kind, number in session.execute(by_kind)}
    return Counts(
        images=session.scalar(select(func.count(StoredImage.id))) or 0,
        votes=session.scalar(select(func.count(Vote.sequence))) or 0,
        likes=kinds.get("like", 0),
        dislikes=kinds.get("dislike", 0),
        raters=session.scalar(select(func.count(Vote.rater.distinct()))) or 0,
    )
