"""A store for a dry run: a temporary one with a copy of the votes, so that a rehearsal keeps nobody from voting."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thumbtune.feedback.store.database import is_address
from thumbtune.feedback.store.location import copy_store, is_made
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.temporary import prefix_of


def needs_copy(likes: str) -> bool:
    """Return whether a dry run is on a copy: that of a folder's store, and that of no store yet."""
    return not (is_address(likes) and is_made(likes))


@contextmanager
def rehearsed(likes: str) -> Iterator[Store]:
    """Open a temporary store with the votes of a folder's store, if there is one; an old store is not upgraded.

    Raises:
        ThumbtuneError: the store is damaged, of a newer Thumbtune, or may not be read.
    """
    with tempfile.TemporaryDirectory(prefix=prefix_of("rehearsal")) as rehearsal:
        if is_made(likes):
            copy_store(Path(likes), Path(rehearsal))
        with Store.open(rehearsal) as store:
            yield store
