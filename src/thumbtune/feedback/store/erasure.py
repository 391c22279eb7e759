"""Erase a rater from a store: the only way in which votes are ever deleted."""

from dataclasses import dataclass

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.orm import Session

from thumbtune.errors import UsageError
from thumbtune.feedback.quoting import listed, shown
from thumbtune.feedback.store.tables import Erasing, Vote
from thumbtune.feedback.store.votes import latest_sequences


@dataclass(frozen=True, kw_only=True)
class Erased:
    """The effects of erasing a rater.

    votes:            deleted rows, undos and skips among them
    unlabelled:       images that no longer have a like or dislike
    majority_changed: images with another majority: the opposite, a tie in its place, or one in place of a tie
    """

    votes: int
    unlabelled: int
    majority_changed: int


def erase(session: Session, rater: str) -> Erased:
    """Delete all votes of a rater, and return what that changed.

    Raises:
        UsageError: the rater has no votes; the message lists raters who have some.
    """
    if session.scalar(select(Vote.id).where(Vote.rater == rater).limit(1)) is None:
        raters = session.scalars(select(Vote.rater).distinct().order_by(Vote.rater).limit(10)).all()
        raise UsageError(
            f"No rater {shown(rater)} has voted in this store; the raters are {listed(raters)}.", code="rater-unknown"
        )
    unlabelled, majority_changed = _affected_images(session, rater)
    # the trigger against deleting votes lets the rater in this table go; the row does not outlive the transaction
    session.execute(insert(Erasing).values(rater=rater))
    of_rater = delete(Vote).where(Vote.rater == rater)
    deleted = 0
    for statement in (of_rater.where(Vote.kind == "undo"), of_rater):  # undos first: they refer to the other votes
        deleted += len(session.scalars(statement.returning(Vote.sequence)).all())
    session.execute(delete(Erasing).where(Erasing.rater == rater))
    return Erased(votes=deleted, unlabelled=unlabelled, majority_changed=majority_changed)


def _affected_images(session: Session, rater: str) -> tuple[int, int]:
    """Return how many images lose their only votes without this rater, and how many get another majority."""
    rated = select(Vote.picture_id).where(Vote.rater == rater)
    sign = case((Vote.kind == "like", 1), (Vote.kind == "dislike", -1), else_=0)
    sign_of_others = case((Vote.rater != rater, sign), else_=0)
    sums = (
        select(func.sum(sign), func.sum(sign_of_others), func.sum(func.abs(sign)), func.sum(func.abs(sign_of_others)))
        .where(Vote.sequence.in_(latest_sequences()), Vote.picture_id.in_(rated))
        .group_by(Vote.picture_id)
    )
    unlabelled = majority_changed = 0
    for before, after, votes_before, votes_after in session.execute(sums):
        unlabelled += bool(votes_before and not votes_after)
        majority_changed += bool(votes_after) and (before > 0) - (before < 0) != (after > 0) - (after < 0)
    return unlabelled, majority_changed
