"""List images page by page, newest first, with filters: each page is found from the last image of the one before.

A filter is one condition on an image, answered from the index of votes, so that a page costs the same on any page.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import Session, aliased

from thumbtune.feedback.store.judging import has_latest, stands
from thumbtune.feedback.store.order import ORDER, ORDERED_AT, in_parts
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Vote

Filter = Literal["all", "like", "dislike", "skip", "unrated", "disagreement"]


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which images: with this label, by one rater if given, and with a text in the prompt."""

    label: Filter = "all"
    rater: str | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An image, how many raters' latest votes are of each kind, and the latest vote of the rater who asks."""

    image: StoredImage
    kinds: Counter[str] = field(default_factory=Counter)
    own: tuple[str, str] | None = None  # kind, id


@dataclass(frozen=True, kw_only=True)
class VoteRecord:
    """One vote in the history of an image."""

    id: str
    rater: str
    kind: str
    reason: str | None
    created_at: datetime
    counts: bool


def list_images(store: Store, rater: str, query: Query, limit: int, after: int | None = None) -> list[Listed]:
    """Return up to `limit` images, newest first, that are older than the image `after`."""
    wanted = select(StoredImage).where(*_conditions(query)).order_by(StoredImage.id.desc()).limit(limit)
    if after is not None:
        wanted = wanted.where(StoredImage.id < after)
    with store.reading() as session:
        images = session.scalars(wanted).all()
        return _with_votes(session, images, rater)


def count_images(store: Store, query: Query) -> int:
    """Return how many images a query finds.

    Of a label, all latest votes are ranked at once: asking image by image, as a page does, takes about thrice as long.
    """
    if query.label in ("like", "dislike", "skip", "disagreement"):
        counted = select(func.count()).select_from(_labelled(query).subquery())
    else:
        counted = select(func.count(StoredImage.id)).where(*_conditions(query))
    with store.reading() as session:
        return session.scalar(counted) or 0


def _labelled(query: Query) -> Select[int]:
    """Select the images with a label, each once."""
    rank = func.row_number().over(
        partition_by=(Vote.picture_id, Vote.rater), order_by=[column.desc() for column in ORDER]
    )
    of_rater = [] if query.rater is None or query.label == "disagreement" else [Vote.rater == query.rater]
    ranked = select(Vote.picture_id, Vote.kind, rank.label("rank")).where(stands(Vote), *of_rater).subquery()
    wanted = ("like", "dislike") if query.label == "disagreement" else (query.label,)
    found = select(ranked.c.picture_id).where(ranked.c.rank == 1, ranked.c.kind.in_(wanted))
    if query.text:
        found = found.join(StoredImage, StoredImage.id == ranked.c.picture_id).where(_has_text(query.text))
    return found.group_by(ranked.c.picture_id).having(func.count(ranked.c.kind.distinct()) == len(wanted))


def _has_text(text: str) -> ColumnElement[bool]:
    return func.lower(StoredImage.prompt).contains(text.lower(), autoescape=True)


def history(store: Store, image: int) -> list[VoteRecord]:
    """Return all votes on an image but undos, oldest first, and which of them count."""
    votes = select(Vote).where(Vote.picture_id == image, Vote.kind != "undo").order_by(Vote.sequence)
    with store.reading() as session:
        rows = session.scalars(votes).all()
        counting = {name for _, name in _latest(session, [image])[image].values()}
    return [
        VoteRecord(
            id=vote.id, rater=vote.rater, kind=vote.kind, reason=vote.reason, created_at=vote.created_at,
            counts=vote.id in counting,
        )
        for vote in rows
    ]  # fmt: skip


def _conditions(query: Query) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.text:
        conditions.append(_has_text(query.text))
    if query.label == "unrated":
        conditions.append(~_has_vote(query.rater))
    elif query.label == "disagreement":
        conditions += [has_latest("like", None), has_latest("dislike", None)]
    elif query.label != "all":
        conditions.append(has_latest(query.label, query.rater))
    return conditions


def _has_vote(rater: str | None) -> ColumnElement[bool]:
    vote = aliased(Vote)
    of_rater = [] if rater is None else [vote.rater == rater]
    return exists().where(vote.picture_id == StoredImage.id, stands(vote), *of_rater)


def _with_votes(session: Session, images: Sequence[StoredImage], rater: str) -> list[Listed]:
    latest = _latest(session, [image.id for image in images])
    return [
        Listed(
            image=image,
            kinds=Counter(kind for kind, _ in latest[image.id].values()),
            own=latest[image.id].get(rater),
        )
        for image in images
    ]


def _latest(session: Session, images: Iterable[int]) -> defaultdict[int, dict[str, tuple[str, str]]]:
    """Return image -> rater -> kind and id of the latest vote."""
    found: defaultdict[int, dict[str, tuple[str, str]]] = defaultdict(dict)
    columns = (Vote.picture_id, Vote.rater, Vote.kind, Vote.id)
    for part in in_parts(images):
        votes = select(*columns).where(Vote.picture_id.in_(part), stands(Vote))
        for image, rater, kind, name in session.execute(votes.order_by(ORDERED_AT, Vote.created_at, Vote.sequence)):
            found[image][rater] = (kind, name)
    return found
