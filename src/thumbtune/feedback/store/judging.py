"""What a rater has judged and what comes next, with queries that stay fast at 100,000 images.

Next come the images on which the rater has no vote, in an order of the rater's own that looks random and stays:

    x = (a * id + b) mod m,   place = (x * x) mod m,   m = 2^31 - 1,

with a and b from the rater's name. Equal places, which are rare, are ordered by id.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, exists, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from thumbtune.feedback.store.order import ORDER
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Vote

PRIME = 2**31 - 1
Order = Literal["random", "newest"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A rater's latest votes, the images without one (`left`), and all images."""

    images: int
    likes: int
    dislikes: int
    skips: int
    left: int


@dataclass(frozen=True)
class Place:
    """An image's place in a rater's order."""

    place: int
    image: int


def progress(store: Store, rater: str) -> Progress:
    """Return how far a rater has come."""
    with store.reading() as session:
        kinds = latest_kinds(session, rater)
        images = session.scalar(select(func.count(StoredImage.id))) or 0
    likes, dislikes, skips = (kinds.get(kind, 0) for kind in ("like", "dislike", "skip"))
    left = images - likes - dislikes - skips
    return Progress(images=images, likes=likes, dislikes=dislikes, skips=skips, left=left)


def latest_kinds(session: Session, rater: str) -> dict[str, int]:
    """Return how many of a rater's latest votes are of each kind."""
    newest_first = [column.desc() for column in ORDER]
    rank = func.row_number().over(partition_by=Vote.picture_id, order_by=newest_first)
    ranked = select(Vote.kind, rank.label("rank")).where(Vote.rater == rater, stands(Vote)).subquery()
    counted = select(ranked.c.kind, func.count()).where(ranked.c.rank == 1).group_by(ranked.c.kind)
    return {kind: number for kind, number in session.execute(counted)}


def next_images(
    store: Store, rater: str, limit: int, *, order: Order = "random", after: Place | None = None
) -> list[tuple[Place, StoredImage]]:
    """Return the next images on which a rater has no vote, with their places.

    Args:
        after: the place of the last image that the rater has already.
    """
    place = -StoredImage.id if order == "newest" else place_of(rater)
    wanted = select(place.label("place"), StoredImage).where(~exists().where(*_votes_of(rater, StoredImage.id)))
    if after is not None:
        wanted = wanted.where(tuple_(place, StoredImage.id) > tuple_(after.place, after.image))
    with store.reading() as session:
        rows = session.execute(wanted.order_by(place, StoredImage.id).limit(limit)).all()
    return [(Place(number, image.id), image) for number, image in rows]


def place_of(rater: str) -> ColumnElement[int]:
    """Return the place of an image in a rater's order, as an expression of SQL."""
    digest = hashlib.sha256(f"order\n{rater}".encode()).digest()
    a = 1 + int.from_bytes(digest[:4], "big") % (PRIME - 1)
    b = int.from_bytes(digest[4:8], "big") % PRIME
    x = ((StoredImage.id % PRIME) * a + b) % PRIME
    return (x * x) % PRIME


def stands(vote: Any) -> ColumnElement[bool]:
    """Return whether a vote is no undo, and was not undone."""
    undo = aliased(Vote)
    return (vote.kind != "undo") & ~exists().where(undo.undoes == vote.id)


def _votes_of(rater: str, image: Any) -> list[ColumnElement[bool]]:
    vote = aliased(Vote)
    return [vote.picture_id == image, vote.rater == rater, stands(vote)]
