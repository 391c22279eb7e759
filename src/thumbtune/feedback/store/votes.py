"""The rules of voting: what may be said, what posting twice means, and which votes still stand."""

import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

from sqlalchemy import Select, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.tables import Table, Vote
from thumbtune.files import sha256

Kind = Literal["like", "dislike", "skip"]
KINDS = ("like", "dislike", "skip")
IDS = uuid.UUID("5f0c3a0e-6d0b-5c53-9d6b-6c7f3a1f8f52")  # the name space of ids that are derived, not drawn
LONGEST_TEXT = 100_000  # characters of a prompt or a reason: no model reads a hundredth of it
INTEGER_LIMIT = 2**63  # what a database's integer holds


class Details(TypedDict, total=False):
    """What may be said beside the thumb itself."""

    weight: float
    grade: float | None
    reason: str | None
    pair: str | None
    vote_id: str | None
    created_at: datetime | None


def standing() -> Select[str]:
    """The kinds of all votes that were not taken back; select other columns, or narrow it, as needed."""
    undone = select(Vote.undoes).where(Vote.undoes.is_not(None))
    return select(Vote.kind).where(Vote.kind != "undo", Vote.id.not_in(undone))


def last_words() -> Select[int]:
    """The sequence of the last word of each rater on each image: by when it was said, then by when it came here."""
    newest_first = (Vote.created_at.desc(), Vote.sequence.desc())
    place = func.row_number().over(partition_by=(Vote.picture_id, Vote.rater), order_by=newest_first)
    ranked = standing().with_only_columns(Vote.sequence, place.label("place")).subquery()
    return select(ranked.c.sequence).where(ranked.c.place == 1)


def insert_new(
    session: Session, table: type[Table], rows: Sequence[Mapping[str, Any]], unique: InstrumentedAttribute[Any]
) -> set[Any]:
    """Insert those whose unique column is not there yet, whoever else is inserting; return what was new of it."""
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[session.get_bind().dialect.name]
    added = session.scalars(
        insert(table).on_conflict_do_nothing(index_elements=[unique.key]).returning(unique), list(rows)
    )
    return set(added)


def post(session: Session, vote: Mapping[str, Any]) -> str:
    """Add the vote, a column for each key, unless it is there already; return its id.

    Raises:
        ThumbtuneError: another vote has this id.
    """
    if insert_new(session, Vote, [vote], Vote.id):
        return vote["id"]
    known = session.scalars(select(Vote).where(Vote.id == vote["id"])).one()
    if (known.picture_id, known.rater, known.kind) != (vote["picture_id"], vote["rater"], vote["kind"]):
        raise ThumbtuneError(
            f"vote {known.id} is already {known.rater}'s {known.kind} of image {known.picture_id}; choose a new id."
        )
    return known.id


def undo_of(vote: str, image: int, rater: str) -> dict[str, Any]:
    """The row that takes a vote back, the same one however often that is done."""
    return {"id": derived_id("undo", vote), "picture_id": image, "rater": rater, "kind": "undo", "undoes": vote}


def key_of(image: str, prompt: str) -> str:
    """The one name of an image (its sha256) under a prompt; never to be changed, since databases hold it."""
    return sha256(f"{image}\n{prompt}".encode())


def derived_id(*parts: str) -> str:
    """The same UUID whenever the same parts are given."""
    return str(uuid.uuid5(IDS, "\n".join(parts)))


def chosen_id(text: str | None) -> str:
    """The client's UUID in its one canonical spelling, or a new one if it chose none.

    Raises:
        ThumbtuneError: it is no UUID.
    """
    if text is None:
        return str(uuid.uuid4())
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise ThumbtuneError(f"vote id {text!r} is no UUID; use one like {uuid.uuid4()}.") from error


def stripped(text: str | None) -> str | None:
    """A text without white space around it, as tables are read too; None where nothing is left."""
    return (text or "").strip() or None


def check_vote(kind: str, rater: str, details: Details) -> None:
    """Refuse a vote that would mean nothing.

    Raises:
        ThumbtuneError: an unknown kind, a nameless rater, or a weight or grade out of range.
    """
    if kind not in KINDS:
        raise ThumbtuneError(f"a vote cannot be {kind!r}; it is like, dislike or skip (to take one back, use undo).")
    if not rater.strip():
        raise ThumbtuneError("a vote needs the name of its rater; give one.")
    weight, grade = details.get("weight", 1.0), details.get("grade")
    if not (math.isfinite(weight) and weight >= 0):
        raise ThumbtuneError(f"a vote's weight is a number from 0 up, not {weight}; leave it out for 1.")
    if grade is not None and not 0 <= grade <= 1:
        raise ThumbtuneError(f"a vote's grade lies between 0 and 1, and {grade} does not; rescale it.")
    check_text(rater, "rater")
    for what in ("reason", "pair"):
        check_text(str(details.get(what) or ""), what)


def check_image(prompt: str, seed: int | None) -> None:
    """Refuse an image that training could not use.

    Raises:
        ThumbtuneError: no prompt, or a seed that no database holds.
    """
    if not prompt.strip():
        raise ThumbtuneError("an image needs the prompt it was made for; give one.")
    check_text(prompt, "prompt")
    if seed is not None and not -INTEGER_LIMIT <= seed < INTEGER_LIMIT:
        raise ThumbtuneError(f"seed {seed} does not fit in 64 bits; leave it out or use a smaller one.")


def check_text(text: str, what: str) -> None:
    """Refuse half characters (lone surrogates) and zero bytes, which JSON can carry and databases do not take.

    Raises:
        ThumbtuneError: there is one.
    """
    if len(text) > LONGEST_TEXT:
        raise ThumbtuneError(f"the {what} has {len(text):,} characters; shorten it to {LONGEST_TEXT:,}.")
    if "\0" in text:
        raise ThumbtuneError(f"the {what} holds a zero byte at {text.index(chr(0))}; write it again without.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ThumbtuneError(f"the {what} holds half a character at {error.start}; write it again in UTF-8.") from error
