"""Images and votes into the database, many at a time; one at a time is many of one.

Whoever else writes meanwhile: what two bring at once is kept once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.images import Look, UnreadableImage, look_at
from thumbtune.feedback.store.places import Place
from thumbtune.feedback.store.tables import StoredImage, Vote, now
from thumbtune.feedback.store.votes import Kind, chosen_id, derived_id, insert_new, key_of, standing
from thumbtune.files import sha256

TAKEN = "its vote id {name} is another vote's; give every vote an id of its own, or leave them out."
FIRST_AGAIN = 2  # changes of mind after which somebody says what they said before
AT_ONCE = 500  # parameters of one statement; SQLite takes some 32,000, and each row of votes has ten


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An image's bytes, the prompt that it was made for, and what is known of it."""

    data: bytes
    prompt: str
    seed: int | None = None
    model: str | None = None
    source: str | None = None

    @cached_property
    def image(self) -> str:
        """The name of its bytes."""
        return sha256(self.data)

    @property
    def key(self) -> str:
        """The name of the image."""
        return key_of(self.image, self.prompt)


def add_images(session: Session, place: Place | None, drawn: Sequence[Drawn]) -> list[StoredImage | UnreadableImage]:
    """The row of each, made if it is new; what is no whole image comes back as the reason why.

    Files are written before the rows that name them, so that no row ever names a missing file. Without a place none
    are: a rehearsal.
    """
    keys = [one.key for one in drawn]
    known = images_by_key(session, keys)
    new: dict[str, dict[str, Any]] = {}
    looks: dict[str, Look | UnreadableImage] = {}
    written: set[str] = set()
    broken: dict[str, UnreadableImage] = {}
    for key, one in zip(keys, drawn, strict=True):
        row = known.get(key)
        if row is None and key not in new:
            look = looks.get(one.image) or looks.setdefault(one.image, _look(one.data))
            if isinstance(look, UnreadableImage):
                broken[key] = look
                continue
            new[key] = _row(key, look, one)
        file = row.file if row else new[key]["file"]
        if place is not None and file not in written and not place.has(file, len(one.data)):  # new, or lost since
            place.write(file, one.data)
        written.add(file)
    if new:
        insert_new(session, StoredImage, list(new.values()), StoredImage.key)
        known |= images_by_key(session, list(new))
    return [known[key] if key in known else broken[key] for key in keys]


def _look(data: bytes) -> Look | UnreadableImage:
    try:
        return look_at(data)
    except UnreadableImage as error:
        return error


def _row(key: str, look: Look, one: Drawn) -> dict[str, Any]:
    image = one.image
    return {
        "key": key,
        "sha256": image,
        "prompt": one.prompt,
        "file": f"images/{image[:2]}/{image}{look.suffix}",
        "width": look.width,
        "height": look.height,
        "seed": one.seed,
        "model": one.model,
        "source": one.source,
    }


@dataclass(frozen=True, kw_only=True)
class Thumb(Drawn):
    """An image and one rater's like or dislike of it.

    vote_id:  a UUID chosen by whoever voted; None: one that follows from what is said, so that saying it again is known
    switches: how often its rater had changed their mind before, in the source that it is from
    """

    kind: Kind
    rater: str
    weight: float = 1.0
    grade: float | None = None
    reason: str | None = None
    pair: str | None = None
    created_at: datetime | None = None
    vote_id: str | None = None
    switches: int = 0


class Became(Enum):
    """What became of a thumb that could be kept."""

    NEW = "new"
    CHANGED = "new, and the opposite of what its rater said before"
    KNOWN = "posted before"
    CONTRADICTED = "posted before, and its rater has said the opposite since"
    TAKEN_BACK = "posted before, and taken back since"


Outcome = Became | ThumbtuneError
Said = tuple[int, str, str]  # image, rater, kind


class Word(NamedTuple):
    """What a rater said last of an image, when, and in which vote."""

    kind: str
    at: datetime
    vote: str


def add_thumbs(session: Session, place: Place | None, thumbs: Sequence[Thumb]) -> list[Outcome]:
    """What became of each, in their order; ThumbtuneErrors are returned for those that cannot be kept."""
    images = add_images(session, place, thumbs)
    ids = [chosen_id(one.vote_id) if one.vote_id else _derived(one) for one in thumbs]
    there = votes_there(session, ids)
    whose = {(p.id, one.rater) for p, one in zip(images, thumbs, strict=True) if isinstance(p, StoredImage)}
    last = last_said(session, whose)
    outcomes: list[Outcome] = []
    rows: list[dict[str, Any]] = []
    for image, name, one in zip(images, ids, thumbs, strict=True):
        if isinstance(image, UnreadableImage):
            outcomes.append(image)
            continue
        said, before = (image.id, one.rater, one.kind), last.get((image.id, one.rater))
        row = _vote(name, image.id, one)
        if name in there:
            if there[name] != said:
                outcomes.append(ThumbtuneError(TAKEN.format(name=name)))
                continue
            known = Became.KNOWN if before and before.kind == one.kind else Became.CONTRADICTED
            outcomes.append(known if before else Became.TAKEN_BACK)
            continue
        rows.append(row)
        there[row["id"]] = said
        counts = before is None or before.at <= row["created_at"]  # else something newer is known
        opposite = counts and before is not None and before.kind not in {"skip", one.kind}
        if counts:
            last[image.id, one.rater] = Word(one.kind, row["created_at"], row["id"])
        outcomes.append(Became.CHANGED if opposite else Became.NEW)
    if rows:
        insert_new(session, Vote, rows, Vote.id)
    return outcomes


def _derived(one: Thumb) -> str:
    """The id of what is said: the same thumb at another moment is another vote, where the moment is told.

    So is the same thumb once its rater had said the opposite in between.
    """
    when = () if one.created_at is None else (one.created_at.astimezone(UTC).isoformat(),)
    again = () if one.switches < FIRST_AGAIN else (f"after {one.switches} changes of mind",)
    return derived_id(one.image, one.prompt, one.rater, one.kind, *when, *again)


def _vote(name: str, image: int, one: Thumb) -> dict[str, Any]:
    return {
        "id": name,
        "picture_id": image,
        "rater": one.rater,
        "kind": one.kind,
        "weight": one.weight,
        "grade": one.grade,
        "reason": one.reason,
        "pair": one.pair,
        "created_at": one.created_at or now(),
    }


def parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Each value once, so many at a time."""
    once = list(dict.fromkeys(values))
    return (once[start : start + AT_ONCE] for start in range(0, len(once), AT_ONCE))


def images_by_key(session: Session, keys: Iterable[str]) -> dict[str, StoredImage]:
    """The rows that there are, by key."""
    return {
        row.key: row
        for part in parts(keys)
        for row in session.scalars(select(StoredImage).where(StoredImage.key.in_(part)))
    }


def votes_there(session: Session, ids: Iterable[str]) -> dict[str, Said]:
    """Those of these votes that have been posted before, and what they say."""
    said = select(Vote.id, Vote.picture_id, Vote.rater, Vote.kind)
    return {
        name: (image, rater, kind)
        for part in parts(ids)
        for name, image, rater, kind in session.execute(said.where(Vote.id.in_(part)))
    }


def last_said(session: Session, of: Iterable[tuple[int, str]]) -> dict[tuple[int, str], Word]:
    """(image, rater) -> the last vote that stands, by when it was said, then by when it came here."""
    said = standing().with_only_columns(Vote.picture_id, Vote.rater, Vote.kind, Vote.created_at, Vote.id)
    said = said.order_by(Vote.created_at, Vote.sequence)
    pair = tuple_(Vote.picture_id, Vote.rater)
    return {
        (image, rater): Word(kind, at, vote)
        for part in parts(of)
        for image, rater, kind, at, vote in session.execute(said.where(pair.in_(part)))
    }
