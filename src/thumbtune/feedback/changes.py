"""What one source has said so far, on disk and not in memory.

A row without an id of its own is known by its place among those of the same moment, or of none: whoever says like,
dislike and like of an image, in this order, has changed their mind twice, and the third row is another vote than the
first. What a source says again comes to the same votes.

It may also show images without a thumb, of which the store may have one that the source gave before. And what it says
last of an image is what counts where it is to overrule the store.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from thumbtune.feedback.scratch import in_sentences, open_scratch
from thumbtune.feedback.store.intake import Thumb
from thumbtune.feedback.store.votes import Kind

WHAT = "What was read so far"
KEY_BYTES = 16  # of SHA-256: two of a billion images share them with a chance of 1 in 10^21
AT_ONCE = 500  # images
TABLES = """
CREATE TABLE words (key BLOB PRIMARY KEY, kind TEXT, switches INTEGER) WITHOUT ROWID;
CREATE TABLE finals (key BLOB PRIMARY KEY, kind TEXT, at REAL) WITHOUT ROWID;
CREATE TABLE differing (key BLOB PRIMARY KEY, image TEXT, rater TEXT) WITHOUT ROWID;
CREATE TABLE silences (key BLOB PRIMARY KEY, image TEXT, rater TEXT, source TEXT) WITHOUT ROWID;
CREATE TABLE prompts (key BLOB PRIMARY KEY) WITHOUT ROWID"""
SAY = """
INSERT INTO words VALUES (?, ?, 0)
ON CONFLICT (key) DO UPDATE SET switches = switches + ifnull(kind <> excluded.kind, 0), kind = excluded.kind
RETURNING switches"""
GIVE = "INSERT OR IGNORE INTO words VALUES (?, NULL, 0)"  # a thumb that its source itself tells from others
FINAL = """
INSERT INTO finals VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, at = excluded.at WHERE excluded.at >= at"""
LAST = "SELECT image, rater, kind FROM differing JOIN finals USING (key)"
UNSAID = "SELECT image, rater, source FROM silences WHERE key NOT IN (SELECT key FROM words)"
NOW = 1e12  # seconds: what tells no time is said when it is imported, after all that does


class Heard:
    """The last word of each rater on each image in a source. Use it in a `with` block.

    overrules: whether `last` will be asked
    """

    def __init__(self, overrules: bool = False) -> None:
        self._words = open_scratch(TABLES, WHAT)
        self._overrules = overrules

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._words.close()

    def with_rank(self, thumb: Thumb) -> Thumb:
        """The thumb that comes next, with how often its rater had changed their mind by then.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        key, at = _key_of(thumb.key, thumb.rater), None if thumb.created_at is None else thumb.created_at.timestamp()
        with in_sentences(WHAT):
            if at is not None:
                self._words.execute(GIVE, (key,))
            moment = key if at is None else _hash(f"{key.hex()} {at}")
            (switches,) = self._words.execute(SAY, (moment, thumb.kind)).fetchone()
            if self._overrules:
                self._words.execute(FINAL, (key, thumb.kind, NOW if at is None else at))
        return replace(thumb, switches=switches) if switches and thumb.vote_id is None else thumb

    def differs(self, image: str, rater: str) -> None:
        """The store's last word of this rater on an image, by its key, is not what a row of the source says."""
        with in_sentences(WHAT):
            row = (_key_of(image, rater), image, rater)
            self._words.execute("INSERT OR IGNORE INTO differing VALUES (?, ?, ?)", row)

    def last(self) -> Iterator[list[tuple[str, str, Kind]]]:
        """(image, rater, kind) of what the source says last, of all that differ, some hundred at a time."""
        with in_sentences(WHAT):
            found = self._words.execute(LAST)
            while some := found.fetchmany(AT_ONCE):
                yield some

    def remember_prompts(self, prompts: Iterable[str]) -> None:
        """Prompts to be known again with `knows`."""
        with in_sentences(WHAT):
            self._words.executemany("INSERT OR IGNORE INTO prompts VALUES (?)", ((_hash(one),) for one in prompts))

    def knows(self, prompt: str) -> bool:
        """Whether a prompt is one of those remembered."""
        with in_sentences(WHAT):
            return self._words.execute("SELECT 1 FROM prompts WHERE key = ?", (_hash(prompt),)).fetchone() is not None

    def say_nothing(self, image: str, rater: str, source: str | None = None) -> None:
        """The source shows an image, by its key, and this rater gives it no thumb, at least here."""
        with in_sentences(WHAT):
            row = (_key_of(image, rater), image, rater, source)
            self._words.execute("INSERT OR IGNORE INTO silences VALUES (?, ?, ?, ?)", row)

    def silences(self) -> Iterator[list[tuple[str, str, str | None]]]:
        """(image, rater, source) of all that got no thumb anywhere in the source, some hundred at a time."""
        with in_sentences(WHAT):
            found = self._words.execute(UNSAID)
            while some := found.fetchmany(AT_ONCE):
                yield some


def _key_of(image: str, rater: str) -> bytes:
    """What is said of one image by one rater; the keys of images are all as long."""
    return _hash(f"{image}{rater}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]
