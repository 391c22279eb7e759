"""Erase a rater from a store: the only way in which votes are ever deleted."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.orm import Session

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.quoting import shown
from thumbtune.feedback.store.erased_raters import erased_in, remember
from thumbtune.feedback.store.order import latest_sequences
from thumbtune.feedback.store.tables import Erasing, Vote
from thumbtune.feedback.temporary import remove_leftovers
from thumbtune.files import sha256, write_text

TABLES = "tables"  # the folder, in the store's, of the tables that training reads
DIGITS = 32  # of a hash, in the name of a marker


@dataclass(frozen=True, kw_only=True)
class Erased:
    """The effects of erasing a rater.

    votes:            deleted rows, undos and skips among them
    unlabelled:       images that no longer have a like or dislike
    majority_changed: images with another majority: the opposite, a tie in its place, or one in place of a tie
    resumed:          whether an earlier erasure of the rater was interrupted
    """

    votes: int
    unlabelled: int
    majority_changed: int
    resumed: bool = False


class Erasure:
    """The erasure of one rater from a store in a folder. A marker file shows that it has begun and not ended.

    The marker holds a hash of the rater's name, and nothing else. `resumed` is whether it was there before.
    """

    def __init__(self, folder: Path, rater: str) -> None:
        self.folder = folder
        self.marker = marker_of(folder, rater)
        self.resumed = self.marker.exists()

    def clean(self, name: str, log_is_empty: bool) -> None:
        """Delete what was made of the rater's votes: tables, also half-written ones, and temporary folders.

        Args:
            name: of the store, for errors.
            log_is_empty: whether the log of the database holds no deleted votes.

        Raises:
            ThumbtuneError: something could not be deleted.
        """
        tables = self.folder / TABLES
        try:
            if tables.exists():
                shutil.rmtree(tables)  # made again when needed
        except OSError as error:
            raise ThumbtuneError(
                f"{tables} still contains votes of the rater and could not be deleted ({error.strerror or error}); "
                "check its permissions, then run the same command again.",
                code="erasure-incomplete",
            ) from error
        remove_leftovers()
        if not log_is_empty:
            raise ThumbtuneError(
                f"The votes are deleted, but the log of {name} still contains them, because another program reads it; "
                "close that program, then run the same command again.",
                code="erasure-incomplete",
            )
        self.marker.unlink(missing_ok=True)


class ErasureOnServer:
    """The erasure of one rater from a server's store: one transaction, and no tables that last."""

    resumed = False

    def clean(self, name: str, log_is_empty: bool) -> None:
        """Delete the temporary folders of ended processes."""
        remove_leftovers()


@contextmanager
def erasing(folder: Path | None, rater: str) -> Iterator[Erasure | ErasureOnServer]:
    """Mark a rater as being erased in the block; if the block fails before it commits, the next call goes on.

    Raises:
        ThumbtuneError: the folder cannot be written.
    """
    if folder is None:
        yield ErasureOnServer()
        return
    erasure = Erasure(folder, rater)
    write_text(erasure.marker, "")
    yield erasure


def marker_of(folder: Path, rater: str) -> Path:
    """Return the file that exists while a rater is being erased."""
    return folder / f".erasing-{sha256(rater.encode())[:DIGITS]}"


def check_rater(session: Session, folder: Path | None, rater: str) -> None:
    """Refuse a rater who never had votes. One who was erased before may be erased again.

    Raises:
        UsageError: the rater has no votes; the message names no other rater, since logs of scripts keep it.
    """
    with suppress(UnicodeEncodeError):  # no database takes such a name
        if session.scalar(select(Vote.id).where(Vote.rater == rater).limit(1)) is not None:
            return
        if folder is not None and marker_of(folder, rater).exists():
            return
        if rater in erased_in(session):
            return
    raise UsageError(
        f"No rater {shown(rater)} has voted in this store; `thumbtune likes stats` lists the raters.",
        code="rater-unknown",
    )


def erase(session: Session, rater: str) -> Erased:
    """Delete all votes of a rater, note that they were erased, and return what that changed."""
    unlabelled, majority_changed = _affected_images(session, rater)
    # the trigger against deleting votes lets the rater in this table go; the row does not outlive the transaction
    session.execute(insert(Erasing).values(rater=rater))
    of_rater = delete(Vote).where(Vote.rater == rater)
    deleted = 0
    for statement in (of_rater.where(Vote.kind == "undo"), of_rater):  # undos first: they refer to the other votes
        deleted += len(session.scalars(statement.returning(Vote.sequence)).all())
    session.execute(delete(Erasing).where(Erasing.rater == rater))
    remember(session, rater)
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
