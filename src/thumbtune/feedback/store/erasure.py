"""Taking a rater out of a store: the one way in which votes are ever deleted."""

from dataclasses import dataclass

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.orm import Session

from thumbtune.errors import UsageError
from thumbtune.feedback.shown import listed, shown
from thumbtune.feedback.store.tables import Erasing, Vote
from thumbtune.feedback.store.votes import last_words


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What erasing a rater did, and what else it touched.

    votes:  rows that are gone, undos and skips among them
    silent: images that nobody likes or dislikes any more
    turned: images with another majority than before: the opposite, a tie, or no tie any more
    """

    votes: int
    silent: int
    turned: int


def erase(session: Session, rater: str) -> Erased:
    """Delete all votes of a rater, and count what that changes.

    Raises:
        UsageError: there are none; it says who has some.
    """
    if session.scalar(select(Vote.id).where(Vote.rater == rater).limit(1)) is None:
        known = session.scalars(select(Vote.rater).distinct().order_by(Vote.rater).limit(10)).all()
        raise UsageError(f"Nobody called {shown(rater)} has voted here; raters are {listed(known)}.")
    silent, turned = _touched(session, rater)
    # what refuses to delete votes lets those of a rater go who is named here, which outlives no transaction
    session.execute(insert(Erasing).values(rater=rater))
    of_rater = delete(Vote).where(Vote.rater == rater)
    gone = 0
    for statement in (of_rater.where(Vote.kind == "undo"), of_rater):  # undos refer to the others
        gone += len(session.scalars(statement.returning(Vote.sequence)).all())
    session.execute(delete(Erasing).where(Erasing.rater == rater))
    return Erased(votes=gone, silent=silent, turned=turned)


def _touched(session: Session, rater: str) -> tuple[int, int]:
    """How many images fall silent without this rater, and how many get another majority."""
    theirs = select(Vote.picture_id).where(Vote.rater == rater)
    last = last_words()
    sign = case((Vote.kind == "like", 1), (Vote.kind == "dislike", -1), else_=0)
    others = case((Vote.rater != rater, sign), else_=0)
    balances = (
        select(func.sum(sign), func.sum(others), func.sum(func.abs(sign)), func.sum(func.abs(others)))
        .where(Vote.sequence.in_(last), Vote.picture_id.in_(theirs))
        .group_by(Vote.picture_id)
    )
    silent = turned = 0
    for balance, without, heard, left in session.execute(balances):
        silent += bool(heard and not left)
        turned += bool(left) and (balance > 0) - (balance < 0) != (without > 0) - (without < 0)
    return silent, turned
