"""What one source has said so far, on disk and not in memory.

A row that tells neither when it was said nor an id of its own is known by its place in the source: whoever says like,
dislike and like of a picture, in this order, has changed their mind twice, and the third row is another vote than the
first. What a source says again comes to the same votes.
"""

import hashlib
from dataclasses import replace
from types import TracebackType
from typing import Self

from thumbtune.feedback.intake import Thumb
from thumbtune.feedback.scratch import in_sentences, open_scratch

WHAT = "What was read so far"
KEY_BYTES = 16  # of SHA-256: two of a billion pictures share them with a chance of 1 in 10^21
TABLES = "CREATE TABLE words (key BLOB PRIMARY KEY, kind TEXT, switches INTEGER) WITHOUT ROWID"
SAY = """
INSERT INTO words VALUES (?, ?, 0)
ON CONFLICT (key) DO UPDATE SET switches = switches + (kind <> excluded.kind), kind = excluded.kind
RETURNING switches"""


class Heard:
    """The last word of each rater on each picture in a source. Use it in a `with` block."""

    def __init__(self) -> None:
        self._words = open_scratch(TABLES, WHAT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._words.close()

    def counted(self, thumb: Thumb) -> Thumb:
        """The thumb that comes next, with how often its rater had changed their mind by then.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        if thumb.created_at is not None or thumb.vote_id is not None:
            return thumb
        with in_sentences(WHAT):
            (switches,) = self._words.execute(SAY, (_key_of(thumb), thumb.kind)).fetchone()
        return replace(thumb, switches=switches) if switches else thumb


def _key_of(thumb: Thumb) -> bytes:
    """What is said of one picture by one rater."""
    text = f"{thumb.key}{thumb.rater}"  # the former is always as long
    return hashlib.sha256(text.encode()).digest()[:KEY_BYTES]
