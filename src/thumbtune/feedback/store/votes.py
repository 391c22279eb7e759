"""The rules of voting: which votes are valid, how a vote posted twice is recognised, and which votes count."""

import hashlib
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Literal, TypedDict

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.tables import Table, Vote
from thumbtune.files import sha256

Kind = Literal["like", "dislike", "skip"]
KINDS = ("like", "dislike", "skip")
ID_NAMESPACE = uuid.UUID("5f0c3a0e-6d0b-5c53-9d6b-6c7f3a1f8f52")  # of derived ids
_NAMESPACE_BYTES = ID_NAMESPACE.bytes
MAX_TEXT_CHARACTERS = 100_000  # of a prompt or a reason; no model reads a hundredth of it
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
INTEGER_LIMIT = 2**63  # first integer too large for a database


class Details(TypedDict, total=False):
    """The optional parts of a vote."""

    weight: float
    grade: float | None
    reason: str | None
    pair: str | None
    vote_id: str | None
    created_at: datetime | None


def insert_new(
    session: Session, table: type[Table], rows: Sequence[Mapping[str, Any]], unique: InstrumentedAttribute[Any]
) -> set[Any]:
    """Insert the rows whose unique column is new, even while others insert; return its inserted values."""
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[session.get_bind().dialect.name]
    added = session.scalars(
        insert(table).on_conflict_do_nothing(index_elements=[unique.key]).returning(unique), list(rows)
    )
    return set(added)


def insert_many(
    session: Session, table: type[Table], rows: Sequence[Mapping[str, Any]], unique: InstrumentedAttribute[Any]
) -> None:
    """Insert the rows whose unique column is new, even while others insert; many times as fast as `insert_new`.

    All rows name the same columns, and every one that needs a value: only the database's own defaults hold. SQLite gets
    the cells as they are stored, since SQLAlchemy takes as long for a row as SQLite does.
    """
    connection = session.connection()
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name]
    statement = insert(table.__table__).on_conflict_do_nothing(index_elements=[unique.key])
    if connection.dialect.name != "sqlite":
        connection.execute(statement, list(rows))
        return
    names = list(rows[0])
    compiled = statement.compile(dialect=connection.dialect, column_keys=names)
    columns = []
    for name in compiled.positiontup or ():
        cells = list(map(itemgetter(name), rows))
        stored = table.__table__.c[name].type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
        if stored is not None:  # most rows of an import have the same time
            by_cell = {cell: None if cell is None else stored(cell) for cell in set(cells)}
            cells = [by_cell[cell] for cell in cells]
        columns.append(cells)
    connection.exec_driver_sql(str(compiled), list(zip(*columns, strict=True)))


def post(session: Session, vote: Mapping[str, Any]) -> str:
    """Add the vote, a column for each key, unless it is stored already; return its id.

    Raises:
        ThumbtuneError: another vote has this id.
    """
    if insert_new(session, Vote, [vote], Vote.id):
        return vote["id"]
    stored = session.scalars(select(Vote).where(Vote.id == vote["id"])).one()
    if (stored.picture_id, stored.rater, stored.kind) != (vote["picture_id"], vote["rater"], vote["kind"]):
        raise ThumbtuneError(
            f"vote {stored.id} is already {stored.rater}'s {stored.kind} of image {stored.picture_id}; choose a new "
            "id.",
            code="vote-id-taken",
        )
    return stored.id


def vote_to_undo(session: Session, store: str, name: str, rater: str) -> Vote:
    """Return the vote with an id, which this rater may undo; `store` is named in errors.

    Raises:
        ThumbtuneError: there is no such vote, it is another rater's, or it is itself an undo.
    """
    vote = session.scalar(select(Vote).where(Vote.id == name))
    if vote is None:
        raise ThumbtuneError(f"{store} contains no vote {name}; there is nothing to undo.", code="vote-missing")
    if vote.rater != rater:
        raise ThumbtuneError(
            f"vote {name} belongs to {vote.rater}; only {vote.rater} can undo it.", code="vote-of-another-rater"
        )
    if vote.kind == "undo":
        raise ThumbtuneError(f"vote {name} is itself an undo; vote again instead.", code="vote-is-undo")
    return vote


def undo_of(vote: str, image: int, rater: str) -> dict[str, Any]:
    """Return the row that undoes a vote; its id is the same each time."""
    return {"id": derived_id("undo", vote), "picture_id": image, "rater": rater, "kind": "undo", "undoes": vote}


def key_of(image: str, prompt: str) -> str:
    """Return the unique key of an image (its sha256) under a prompt. Databases store it, so it must never change."""
    return sha256(f"{image}\n{prompt}".encode())


def derived_id(*parts: str) -> str:
    """Return the UUID derived from the parts; equal parts give equal UUIDs."""
    name = _NAMESPACE_BYTES + "\n".join(parts).encode()
    digest = bytearray(hashlib.sha1(name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # as uuid.uuid5, which takes five times as long
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def uuid_version(vote_id: str) -> int | None:
    """Return the version of a vote's UUID: 5 is derived, 4 random; None for an id that is no UUID."""
    try:
        return uuid.UUID(vote_id).version
    except ValueError:
        return None


def chosen_id(text: str | None) -> str:
    """Return the client's UUID in canonical spelling, or a new random UUID for None.

    Raises:
        ThumbtuneError: the text is not a UUID.
    """
    if text is None:
        return str(uuid.uuid4())
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise ThumbtuneError(
            f"vote id {text!r} is not a UUID; use one like {uuid.uuid4()}.", code="vote-bad-id"
        ) from error


def stripped(text: str | None) -> str | None:
    """Return the text without surrounding white space, or None for an empty text."""
    return (text or "").strip() or None


def without_controls(text: str) -> str:
    """Return a prompt without white space around it, and with a space for each control character.

    Word processors and terminals leave such characters in copied text. Line ends and tabs stay; so do zero bytes, which
    `check_text` refuses, as they show that the text was read in a wrong encoding.
    """
    if text.isprintable():  # told at once, and true of most prompts
        return text.strip()
    return (_CONTROL.sub(" ", text) if _CONTROL.search(text) else text).strip()


def check_vote(kind: str, rater: str, details: Details) -> None:
    """Refuse a vote with invalid values.

    Raises:
        ThumbtuneError: an unknown kind, an empty rater, or a weight or grade out of range.
    """
    if kind not in KINDS:
        raise ThumbtuneError(
            f"a vote cannot be {kind!r}; it is like, dislike or skip (to take one back, use undo).",
            code="vote-unknown-kind",
        )
    if not rater.strip():
        raise ThumbtuneError("a vote needs the name of its rater; give one.", code="vote-no-rater")
    weight, grade = details.get("weight", 1.0), details.get("grade")
    if not (math.isfinite(weight) and weight >= 0):
        raise ThumbtuneError(
            f"a vote's weight must be a number of at least 0, not {weight}; omit it for 1.", code="vote-bad-weight"
        )
    if grade is not None and not 0 <= grade <= 1:
        raise ThumbtuneError(
            f"a vote's grade must lie between 0 and 1, not be {grade}; rescale it.", code="vote-bad-grade"
        )
    check_text(rater, "rater")
    for name in ("reason", "pair"):
        if text := details.get(name):
            check_text(str(text), name)


def check_image(prompt: str, seed: int | None) -> None:
    """Refuse an image that training could not use.

    Raises:
        ThumbtuneError: the prompt is empty, or the seed does not fit into the database.
    """
    if not prompt.strip():
        raise ThumbtuneError("an image needs the prompt it was made for; give one.", code="image-no-prompt")
    check_text(prompt, "prompt")
    if seed is not None and not -INTEGER_LIMIT <= seed < INTEGER_LIMIT:
        raise ThumbtuneError(
            f"seed {seed} does not fit in 64 bits; leave it out or use a smaller one.", code="image-bad-seed"
        )


def check_text(text: str, name: str) -> None:
    """Refuse lone surrogates and zero bytes, which JSON can carry and databases do not take.

    Raises:
        ThumbtuneError: the text contains one, or is too long.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ThumbtuneError(
            f"the {name} has {len(text):,} characters; shorten it to {MAX_TEXT_CHARACTERS:,}.", code="text-too-long"
        )
    if text.isprintable():  # neither surrogates nor zero bytes are
        return
    if "\0" in text:
        raise ThumbtuneError(
            f"the {name} contains a zero byte at position {text.index(chr(0))}; remove it.", code="text-zero-byte"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ThumbtuneError(
            f"the {name} contains an incomplete character at position {error.start}; write it again in UTF-8.",
            code="text-half-character",
        ) from error
