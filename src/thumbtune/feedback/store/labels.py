"""Read the labels in a store: the latest like or dislike of each rater on each image."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from thumbtune.feedback.store.damage import check_row
from thumbtune.feedback.store.order import latest_sequences
from thumbtune.feedback.store.tables import StoredImage, Vote


@dataclass(frozen=True, kw_only=True)
class Label:
    """A like or dislike that counts: the latest vote of one rater on one image, or by a policy that of several."""

    image: StoredImage
    rater: str
    liked: bool
    weight: float
    grade: float | None
    reason: str | None
    created_at: datetime
    pair: str | None = None
    vote_id: str | None = None
    ordered_at: datetime | None = None

    @property
    def order(self) -> datetime:
        """The time by which it is earlier or later than others."""
        return self.ordered_at or self.created_at


def labels_in(session: Session) -> Iterator[Label]:
    """Yield the latest vote of each rater on each image, if it is a like or dislike, in the images' order."""
    votes = (
        select(Vote, StoredImage)
        .join(StoredImage, StoredImage.id == Vote.picture_id)
        .where(Vote.sequence.in_(latest_sequences()), Vote.kind.in_(("like", "dislike")))
        .order_by(Vote.picture_id, Vote.rater)
    )
    with session.execute(votes.execution_options(yield_per=1000)) as rows:
        for vote, image in rows:
            check_row(image, vote)
            yield Label(
                image=image,
                rater=vote.rater,
                liked=vote.kind == "like",
                weight=vote.weight,
                grade=vote.grade,
                reason=vote.reason,
                created_at=vote.created_at,
                pair=vote.pair,
                vote_id=vote.id,
                ordered_at=vote.ordered_at,
            )
