"""Silent repeats: now and then a rater judges an image again, which shows how well they agree with themselves.

A repeat is a vote whose id follows from the first one's, so that it is known as such, and stored once. It is ordered
just before the first vote, which therefore stays the one that counts: a repeat measures, and changes no label.

A rater who takes a repeat back, or looks back at it, repeats the vote once more. Such a further repeat has the id of
the repeat before with its last four digits counted on; the last one that stands is compared with the first vote.
"""

import hashlib
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.judging import stands
from thumbtune.feedback.store.order import MOMENT, in_parts
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Vote, now
from thumbtune.feedback.store.votes import Kind, check_vote, post, uuid_version

REPEAT_VERSION = 8  # of UUIDs: "custom"; the votes of raters are random (4), those of imports derived (5)
FORGOTTEN_AFTER = 20  # votes, after which a rater hardly remembers an image
CANDIDATES = 200
COUNTED = 4  # last digits of a repeat's id, which tell a further repeat of a vote from the one before


@dataclass(frozen=True)
class Agreement:
    """The repeats of a rater that are likes or dislikes, and how many say what the first vote said."""

    repeats: int
    agreed: int


def repeat_id(first: str) -> str:
    """Return the id of the repeat of a vote."""
    digest = bytearray(hashlib.sha256(f"repeat\n{first}".encode()).digest()[:16])
    digest[6] = REPEAT_VERSION << 4 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(digest)))


def is_repeat(vote_id: str) -> bool:
    """Return whether a vote is a repeat, by its id."""
    return uuid_version(vote_id) == REPEAT_VERSION


def further_repeat(repeat: str) -> str:
    """Return the id of the repeat after this one, of the same vote.

    >>> further_repeat("0f0e0d0c-0b0a-8908-8706-0504030201ff")
    '0f0e0d0c-0b0a-8908-8706-050403020200'
    """
    return f"{_series(repeat)}{(int(repeat[-COUNTED:], 16) + 1) % 16**COUNTED:0{COUNTED}x}"


def _series(repeat: str) -> str:
    """Return what all repeats of a vote share."""
    return repeat[:-COUNTED]


def repeats_for(store: Store, rater: str, count: int, seed: int) -> list[tuple[str, StoredImage]]:
    """Return up to `count` images to judge again, each with the id for the vote; fewer or none early on."""
    vote = aliased(Vote)
    with store.reading() as session:
        recent = select(vote.id, vote.picture_id).where(vote.rater == rater, vote.kind.in_(("like", "dislike")))
        recent = recent.where(stands(vote)).order_by(vote.sequence.desc()).offset(FORGOTTEN_AFTER).limit(CANDIDATES)
        ids = {repeat_id(first): image for first, image in session.execute(recent) if not is_repeat(first)}
        for part in in_parts(ids):
            for used in session.scalars(select(Vote.id).where(Vote.id.in_(part))):
                del ids[used]
        chosen = random.Random(seed).sample(sorted(ids), min(count, len(ids)))
        images = {name: session.get(StoredImage, ids[name]) for name in chosen}
    return [(name, image) for name, image in images.items() if image is not None]


def post_repeat(store: Store, vote_id: str, image: int, kind: Kind, rater: str) -> str:
    """Store a repeat, or a further one, of the vote from which its id follows, and return the id.

    Raises:
        ThumbtuneError: the rater has no such vote on this image.
    """
    check_vote(kind, rater, {})
    with store.transaction(), store.reading() as session:
        first = _first_of(session, vote_id, image, rater)
        if first is None:
            raise ThumbtuneError(
                f"vote {vote_id} repeats no vote of {rater} on image {image}; choose a random id.",
                code="repeat-of-none",
            )
        at = now()
        return post(
            session,
            {
                "id": vote_id,
                "picture_id": image,
                "rater": rater,
                "kind": kind,
                "created_at": at,
                "ordered_at": _just_before(first.ordered_at or first.created_at),
            },
        )


def agreement_of(store: Store, rater: str) -> Agreement:
    """Return how often a rater's repeats agree with their first votes; of several repeats of a vote the last counts."""
    with store.reading() as session:
        votes = select(Vote.id, Vote.kind).where(Vote.rater == rater, stands(Vote), Vote.kind.in_(("like", "dislike")))
        kinds = {name: kind for name, kind in session.execute(votes.order_by(Vote.sequence))}
    last = {_series(name): kind for name, kind in kinds.items() if is_repeat(name)}
    pairs = [(kind, last[again]) for name, kind in kinds.items() if (again := _series(repeat_id(name))) in last]
    return Agreement(repeats=len(pairs), agreed=sum(first == again for first, again in pairs))


def _first_of(session: Session, repeat: str, image: int, rater: str) -> Vote | None:
    votes: Sequence[Vote] = session.scalars(select(Vote).where(Vote.picture_id == image, Vote.rater == rater)).all()
    return next((vote for vote in votes if _series(repeat_id(vote.id)) == _series(repeat)), None)


def _just_before(time: datetime) -> datetime:
    return max(time - MOMENT, datetime.min.replace(tzinfo=UTC) + MOMENT)


def seed_of(rater: str, place: int) -> int:
    """Return a number that follows from a rater and a place in their order."""
    return int.from_bytes(hashlib.sha256(f"{rater}\n{place}".encode()).digest()[:8], "big")
