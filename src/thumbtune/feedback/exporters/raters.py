"""Names of raters that say nothing about who they are: "rater-7f3a90c2d1e45b68" for Ann.

A name is a keyed hash (HMAC-SHA-256) of the rater's. Without the key nobody can tell whether a name that they guess is
the right one, as they could with a hash alone. The key belongs to the store and not to one export: what is exported
again next month has the same names, is equal byte for byte where nothing changed, and can be imported over the first.
It lies beside the votes, which say who gave them anyway; to have new names, delete it. A server's store, which many may
read, and one that cannot be written have no such place, so that each export of theirs has a key of its own.

A vote's id may have been derived from its rater's name, which could be guessed from it. So only ids that were drawn at
random are exported as they are; others follow from the new name.
"""

import hmac
import os
import re
import secrets
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.policies import ONE
from thumbtune.feedback.store.location import KEY_FILE
from thumbtune.feedback.store.store import Opinion, Store
from thumbtune.feedback.store.votes import derived_id

KEY_BYTES = 32
DIGITS = 16  # hexadecimal, 64 bits: two of a million raters share a name with a chance of 1 in 40 million
RANDOM = 4  # the version of a UUID that was drawn at random
HIDDEN = re.compile(rf"rater-[0-9a-f]{{{DIGITS}}}")


class Pseudonyms:
    """Other names for raters; the same for the same rater and key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def name_of(self, rater: str) -> str:
        """What a rater is called in an export."""
        return f"rater-{hmac.digest(self._key, rater.encode(), 'sha256').hex()[:DIGITS]}"

    def policy_of(self, policy: str) -> str:
        """A policy that may name a rater."""
        name = policy.removeprefix(ONE)
        return policy if name == policy else f"{ONE}{self.name_of(name)}"

    def hide(self, opinion: Opinion) -> Opinion:
        """An opinion that does not say whose it is."""
        rater, image = self.name_of(opinion.rater), opinion.image
        kind = "like" if opinion.liked else "dislike"
        drawn = opinion.vote_id is not None and uuid.UUID(opinion.vote_id).version == RANDOM
        vote_id = opinion.vote_id if drawn else derived_id(image.sha256, image.prompt, rater, kind)
        return replace(opinion, rater=rater, vote_id=vote_id)


def key_of(store: Store) -> bytes:
    """The key of a store, made when it is first asked for; where it cannot be kept, one for this time alone.

    Raises:
        ThumbtuneError: it is damaged, or may not be read.
    """
    key = secrets.token_bytes(KEY_BYTES)
    if store.folder is None:
        return key
    file = store.folder / KEY_FILE
    if not file.exists():
        try:
            _make(file, key)
        except OSError:
            return key
    return _read(file)


def own_names(store: Store) -> frozenset[str]:
    """What exports of this store call the raters whom it knows; none where it was never exported under other names.

    Raises:
        ThumbtuneError: its key is damaged, or may not be read.
    """
    file = None if store.folder is None else store.folder / KEY_FILE
    if file is None or not file.exists():
        return frozenset()
    return frozenset(map(Pseudonyms(_read(file)).name_of, store.busiest()))


def _make(file: Path, key: bytes) -> None:
    """Write the key whole, for its owner alone, unless somebody else was faster: nobody ever reads half of one.

    Raises:
        OSError: it cannot be written.
    """
    partial = file.with_name(f".{file.name}.{secrets.token_hex(8)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(key)
        with suppress(FileExistsError):
            _put(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _put(partial: Path, file: Path) -> None:
    """Give a file its name, unless there is one of this name.

    Raises:
        OSError: there is, or it cannot be.
    """
    try:
        os.link(partial, file)
    except FileExistsError:
        raise
    except OSError:  # a disk without links: of two at the same moment, the later one counts
        if file.exists():
            raise
        os.replace(partial, file)


def _read(file: Path) -> bytes:
    try:
        key = file.read_bytes()
    except OSError as error:
        raise ThumbtuneError(f"{file} could not be read ({error.strerror or error}); check the file.") from error
    if len(key) != KEY_BYTES:
        raise ThumbtuneError(f"{file} is damaged; delete it, and raters get new names in exports.")
    return key
