"""What a source says of what the store has of it: taken back where it gives no thumb, said anew where it overrules.

Only votes whose ids follow from what they say are an import's. What somebody said otherwise is theirs, and stays.
"""

import uuid
from collections.abc import Iterable, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from thumbtune.feedback.store.intake import Word, images_by_key, last_said, parts
from thumbtune.feedback.store.tables import StoredImage, Vote, now
from thumbtune.feedback.store.votes import Kind, derived_id, insert_new, standing, undo_of

COPIED = ("picture_id", "rater", "kind", "weight", "grade", "reason", "pair")
DERIVED = 5  # the version of a UUID that follows from a name
Silence = tuple[str, str, str | None]  # the key of an image, a rater who gives it no thumb, and the source's name
Wish = tuple[str, str, Kind]  # the key of an image, a rater, and what they are to have said last


def is_derived(name: str) -> bool:
    """Whether a vote's id follows from what it says, as an import's does."""
    return uuid.UUID(name).version == DERIVED


def with_thumbs(session: Session, silences: Iterable[Silence]) -> set[tuple[int, str]]:
    """(image, rater) of those whose last word is an import's like or dislike all the same.

    An image that came from a source of another name says nothing of this one.
    """
    silences = list(silences)
    images = images_by_key(session, (key for key, *_ in silences))
    whose = {
        (images[key].id, rater) for key, rater, source in silences if key in images and _may_be_of(images[key], source)
    }
    last = last_said(session, whose)
    return {of for of, word in last.items() if word.kind in ("like", "dislike") and is_derived(word.vote)}


def _may_be_of(image: StoredImage, source: str | None) -> bool:
    return source is None or image.source is None or image.source == source


def take_back(session: Session, whose: Iterable[tuple[int, str]]) -> None:
    """Undo all that imports said of these images for these raters; without the last, the one before would count."""
    pair = tuple_(Vote.picture_id, Vote.rater)
    votes = standing().with_only_columns(Vote.id, Vote.picture_id, Vote.rater)
    undos = [
        undo_of(name, image, rater)
        for part in parts(whose)
        for name, image, rater in session.execute(votes.where(pair.in_(part)))
        if is_derived(name)
    ]
    if undos:
        insert_new(session, Vote, undos, Vote.id)


def say_anew(session: Session, wishes: Sequence[Wish]) -> list[tuple[Kind, bool]]:
    """Say now what is not the last word, as it was said before; the kind of each, and whether the opposite stood."""
    images = images_by_key(session, (key for key, *_ in wishes))
    asked: list[tuple[int, str, Kind]] = [(images[key].id, rater, kind) for key, rater, kind in wishes if key in images]
    last = last_said(session, {(image, rater) for image, rater, _ in asked})
    before = {one: last.get((one[0], one[1])) for one in asked}
    missing = [one for one in asked if (word := before[one]) is None or word.kind != one[2]]
    triple = tuple_(Vote.picture_id, Vote.rater, Vote.kind)
    votes = {
        (vote.picture_id, vote.rater, vote.kind): vote
        for part in parts(missing)
        for vote in session.scalars(select(Vote).where(triple.in_(part)).order_by(Vote.sequence))
    }
    at = now()
    rows = [
        {
            **{name: getattr(vote, name) for name in COPIED},
            **{"id": derived_id(vote.id, "anew", at.isoformat()), "created_at": at},
        }
        for vote in votes.values()
    ]
    if rows:
        insert_new(session, Vote, rows, Vote.id)
    said: list[tuple[Kind, Word | None]] = [(one[2], before[one]) for one in missing if one in votes]
    return [(kind, word is not None and word.kind != "skip") for kind, word in said]
