"""Taking back what a source gave before and gives no more: an undo for each vote, as `Store.undo` adds one."""

from collections.abc import Iterable

from sqlalchemy import tuple_
from sqlalchemy.orm import Session

from thumbtune.feedback.intake import last_said, parts, pictures_by_key
from thumbtune.feedback.tables import Vote
from thumbtune.feedback.votes import derived_id, insert_new, standing

Silence = tuple[str, str]  # the key of a picture, and a rater who gives it no thumb


def with_thumbs(session: Session, silences: Iterable[Silence]) -> set[tuple[int, str]]:
    """(picture, rater) of those whose last word is a like or a dislike all the same."""
    silences = list(silences)
    pictures = pictures_by_key(session, (key for key, _ in silences))
    said = last_said(session, {(pictures[key].id, rater) for key, rater in silences if key in pictures})
    return {whose for whose, word in said.items() if word.kind in ("like", "dislike")}


def take_back(session: Session, whose: Iterable[tuple[int, str]]) -> None:
    """Undo all votes of these raters on these pictures: with the last one alone, the one before it would count."""
    pair = tuple_(Vote.picture_id, Vote.rater)
    votes = standing().with_only_columns(Vote.id, Vote.picture_id, Vote.rater)
    undos = [
        {"id": derived_id("undo", name), "picture_id": picture, "rater": rater, "kind": "undo", "undoes": name}
        for part in parts(whose)
        for name, picture, rater in session.execute(votes.where(pair.in_(part)))
    ]
    if undos:
        insert_new(session, Vote, undos, Vote.id)
