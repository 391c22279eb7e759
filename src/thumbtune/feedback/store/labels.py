"""Read the labels in a store: the latest like or dislike of each rater on each image."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from thumbtune.feedback.store.damage import check_image_cells, check_label
from thumbtune.feedback.store.order import latest_sequences
from thumbtune.feedback.store.tables import StoredImage, Vote

ROWS_AT_ONCE = 1000
VOTE_CELLS = (
    *(Vote.id, Vote.rater, Vote.kind, Vote.weight, Vote.grade, Vote.reason, Vote.pair),
    *(Vote.created_at, Vote.ordered_at),
)


class LabelledImage(NamedTuple):
    """The cells of an image that a label needs: objects that follow the database take ten times as long to make."""

    id: int
    sha256: str
    prompt: str
    file: str
    width: int
    height: int
    seed: int | None
    model: str | None
    source: str | None
    created_at: datetime  # read for its damage alone


AnyImage = StoredImage | LabelledImage
IMAGE_CELLS = tuple(getattr(StoredImage, name) for name in LabelledImage._fields)


@dataclass(kw_only=True, slots=True)  # not frozen, which takes three times as long to make; nobody changes one
class Label:
    """A like or dislike that counts: the latest vote of one rater on one image, or by a policy that of several."""

    image: LabelledImage
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
        select(*VOTE_CELLS, *IMAGE_CELLS)
        .join(StoredImage, StoredImage.id == Vote.picture_id)
        .where(Vote.sequence.in_(latest_sequences()), Vote.kind.in_(("like", "dislike")))
        .order_by(Vote.picture_id, Vote.rater)
    )
    image = None
    with session.connection().execute(votes, execution_options={"yield_per": ROWS_AT_ONCE}) as rows:
        for vote_id, rater, kind, weight, grade, reason, pair, created_at, ordered_at, *cells in rows:
            if image is None or image.id != cells[0]:
                image = LabelledImage(*cells)
                check_image_cells(image)
            label = Label(
                image=image,
                rater=rater,
                liked=kind == "like",
                weight=weight,
                grade=grade,
                reason=reason,
                created_at=created_at,
                pair=pair,
                vote_id=vote_id,
                ordered_at=ordered_at,
            )
            check_label(label)
            yield label
