"""What a rater has judged and what comes next, with queries that stay fast at 100,000 images.

Next come the images on which the rater has no vote, in an order of the rater's own that looks random and stays:

    x = (a * id + b) mod m,   place = (x * x) mod m,   m = 2^31 - 1,

with a and b from the rater's name. Equal places, which are rare, are ordered by id. Other orders put some images before
all others, and these in the order above:

    newest          the images that came last
    uncertain       those of which a run is least certain (uncertainty.py)
    disagreement    those that other raters both like and dislike, then those that another rater judged
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, case, cast, exists, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from thumbtune.feedback.store.order import ORDER
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Uncertainty, Vote

PRIME = 2**31 - 1
PER_UNIT, MOST_UNCERTAINTY = 10**12, 10**5  # places of an uncertainty: whole numbers of at most 17 digits
NO_UNCERTAINTY = PER_UNIT * MOST_UNCERTAINTY
Order = Literal["random", "newest", "uncertain", "disagreement"]


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
    place = _place_in(order, rater)
    wanted = select(place.label("place"), StoredImage).where(~exists().where(*_votes_of(rater, StoredImage.id)))
    if after is not None:
        wanted = wanted.where(tuple_(place, StoredImage.id) > tuple_(after.place, after.image))
    with store.reading() as session:
        rows = session.execute(wanted.order_by(place, StoredImage.id).limit(limit)).all()
    return [(Place(number, image.id), image) for number, image in rows]


def _place_in(order: Order, rater: str) -> ColumnElement[int]:
    """Return the place of an image in an order, as an expression of SQL; a whole number of at most 18 digits."""
    if order == "newest":
        return -StoredImage.id
    if order == "uncertain":
        found = select(Uncertainty.value).where(Uncertainty.picture_id == StoredImage.id).scalar_subquery()
        bounded = case((found < MOST_UNCERTAINTY, found), else_=MOST_UNCERTAINTY)
        place = cast(bounded * PER_UNIT, BigInteger)
        return case((found.is_(None), NO_UNCERTAINTY + place_of(rater)), else_=place)
    if order == "disagreement":
        differ = has_latest("like", None) & has_latest("dislike", None)
        judged = has_latest("like", None) | has_latest("dislike", None)
        return case((differ, 0), (judged, PRIME), else_=2 * PRIME) + place_of(rater)
    return place_of(rater)


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


def has_latest(kind: str, rater: str | None) -> ColumnElement[bool]:
    """Return whether the latest vote of some rater, or of this one, is of a kind."""
    vote, later = aliased(Vote), aliased(Vote)
    of_rater = [] if rater is None else [vote.rater == rater]
    is_later = tuple_(*_order_of(later)) > tuple_(*_order_of(vote))
    outranked = exists().where(later.picture_id == vote.picture_id, later.rater == vote.rater, is_later, stands(later))
    return exists().where(vote.picture_id == StoredImage.id, vote.kind == kind, stands(vote), ~outranked, *of_rater)


def _order_of(vote: Any) -> tuple[Any, ...]:
    return (func.coalesce(vote.ordered_at, vote.created_at), vote.created_at, vote.sequence)


def _votes_of(rater: str, image: Any) -> list[ColumnElement[bool]]:
    vote = aliased(Vote)
    return [vote.picture_id == image, vote.rater == rater, stands(vote)]
