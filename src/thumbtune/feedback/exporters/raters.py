"""Pseudonyms of raters in exports: "rater-7f3a90c2d1e45b68" for Ann.

A pseudonym is a keyed hash (HMAC-SHA-256) of the rater's name. A hash without a key would let anybody check a guessed
name. The key belongs to the store and not to one export: a later export has the same pseudonyms, equals the first byte
for byte if nothing changed, and can be imported over it. The key lies beside the votes, which contain the names anyway;
delete it for new pseudonyms. A server's store, which many may read, and a read-only store have no place for a key, so
each of their exports has a key of its own.

A vote's id may be derived from its rater's name, which could be guessed from it. So only random ids are exported as
they are; others are derived again from the pseudonym.
"""

import hmac
import os
import re
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.policies import RATER_PREFIX
from thumbtune.feedback.store.location import KEY_FILE
from thumbtune.feedback.store.store import Label, Store
from thumbtune.feedback.store.votes import derived_id, uuid_version
from thumbtune.files import partial_beside, working_file

KEY_BYTES = 32
DIGITS = 16  # hexadecimal, 64 bits: two of a million raters share one with a probability of 1 in 40 million
RANDOM_UUID_VERSION = 4
PSEUDONYM = re.compile(rf"rater-[0-9a-f]{{{DIGITS}}}")


class Pseudonyms:
    """Pseudonyms of raters; equal for an equal rater and key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def name_of(self, rater: str) -> str:
        """Return a rater's pseudonym."""
        return f"rater-{hmac.digest(self._key, rater.encode(), 'sha256').hex()[:DIGITS]}"

    def policy_of(self, policy: str) -> str:
        """Return the policy with its rater's name, if it has one, replaced."""
        name = policy.removeprefix(RATER_PREFIX)
        return policy if name == policy else f"{RATER_PREFIX}{self.name_of(name)}"

    def hide(self, label: Label) -> Label:
        """Return the label with its rater's pseudonym."""
        rater, image = self.name_of(label.rater), label.image
        kind = "like" if label.liked else "dislike"
        is_random = label.vote_id is not None and uuid_version(label.vote_id) == RANDOM_UUID_VERSION
        vote_id = label.vote_id if is_random else derived_id(image.sha256, image.prompt, rater, kind)
        return replace(label, rater=rater, vote_id=vote_id)


def pseudonym_key_of(store: Store) -> bytes:
    """Return the key of a store, made at the first export; a new key if the store cannot keep one.

    Raises:
        ThumbtuneError: the key is damaged, or may not be read.
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


def pseudonyms_in(store: Store) -> frozenset[str]:
    """Return the pseudonyms of a store's raters in its exports; none if it was never exported with pseudonyms.

    Raises:
        ThumbtuneError: the key is damaged, or may not be read.
    """
    file = None if store.folder is None else store.folder / KEY_FILE
    if file is None or not file.exists():
        return frozenset()
    return frozenset(map(Pseudonyms(_read(file)).name_of, store.busiest_raters()))


def _make(file: Path, key: bytes) -> None:
    """Write the key whole, readable by its owner alone, unless another process wrote one first.

    Raises:
        OSError: the key cannot be written.
    """
    partial = partial_beside(file)
    try:
        with working_file(partial, 0o600):
            partial.write_bytes(key)
            with suppress(FileExistsError):
                _put(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _put(partial: Path, file: Path) -> None:
    """Rename a file, unless the new name exists.

    Raises:
        OSError: the name exists, or the file cannot be renamed.
    """
    try:
        os.link(partial, file)
    except FileExistsError:
        raise
    except OSError:  # a disk without links; of two processes at once, the later one's key stays
        if file.exists():
            raise
        os.replace(partial, file)


def _read(file: Path) -> bytes:
    try:
        key = file.read_bytes()
    except OSError as error:
        raise ThumbtuneError(
            f"{file} could not be read ({error.strerror or error}); check the file.", code="export-key-not-read"
        ) from error
    if len(key) != KEY_BYTES:
        raise ThumbtuneError(
            f"{file} is damaged; delete it, which gives raters new pseudonyms in exports.", code="export-key-damaged"
        )
    return key
