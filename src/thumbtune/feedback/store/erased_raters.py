"""Raters who were erased: an import leaves out their votes, which their sources may still contain.

The store keeps a keyed hash (HMAC-SHA-256) of each erased rater's name, and a random key of its own. No name can be
read from them. Somebody who reads the store, and so its key, can check whether a guessed name was erased.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from thumbtune.feedback.store.order import in_parts
from thumbtune.feedback.store.tables import DamagedCell, ErasedRater, ErasureKey
from thumbtune.feedback.store.votes import insert_new

KEY_BYTES = 32


@dataclass(frozen=True)
class ErasedRaters:
    """The erased raters of a store: `"ann" in erased_in(session)`."""

    key: bytes
    digests: frozenset[str]

    def __contains__(self, rater: str) -> bool:
        """Return whether a rater was erased."""
        return bool(self.digests) and self.digest_of(rater) in self.digests

    def digest_of(self, rater: str) -> str:
        """Return the keyed hash of a rater's name, 64 hexadecimal digits."""
        return hmac.digest(self.key, rater.encode("utf-8", "surrogatepass"), "sha256").hex()


def erased_in(session: Session) -> ErasedRaters:
    """Return the erased raters of a store.

    Raises:
        DamagedCell: the key is no hexadecimal number.
    """
    key = session.scalar(select(ErasureKey.key))
    if key is None:
        return ErasedRaters(b"", frozenset())
    try:
        return ErasedRaters(bytes.fromhex(key), frozenset(session.scalars(select(ErasedRater.digest))))
    except (ValueError, TypeError) as error:
        raise DamagedCell("the key of its erased raters is no hexadecimal number") from error


def remember(session: Session, rater: str) -> None:
    """Add a rater to the erased ones; the first one makes the key of the store."""
    insert_new(session, ErasureKey, [{"id": 1, "key": secrets.token_hex(KEY_BYTES)}], ErasureKey.id)
    insert_new(session, ErasedRater, [{"digest": erased_in(session).digest_of(rater)}], ErasedRater.digest)


def forget(session: Session, raters: Iterable[str]) -> None:
    """Remove raters from the erased ones: their votes are taken again."""
    erased = erased_in(session)
    for part in in_parts({erased.digest_of(rater) for rater in set(raters) if rater in erased}):
        session.execute(delete(ErasedRater).where(ErasedRater.digest.in_(part)))
