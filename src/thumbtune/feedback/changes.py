"""The votes of one source so far, in a temporary database instead of memory.

A row without an id of its own is identified by its rank among the rows of the same time, or without a time. If a rater
likes, dislikes and likes an image again, in this order, they changed their mind twice, and the third row is another
vote than the first. A repeated import of the source derives the same votes.

The database also holds images that the source shows without a vote, since the store may have one from an earlier
import, and each rater's latest vote in the source, whose older ones are no fault.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from thumbtune.feedback.scratch import in_sentences, open_scratch
from thumbtune.feedback.store.intake import NewVote
from thumbtune.feedback.store.order import in_parts
from thumbtune.feedback.store.votes import Kind

CONTENTS = "The list of votes read so far"
KEY_BYTES = 16  # of SHA-256: two of a billion images collide with a probability of 1 in 10^21
ROWS_AT_ONCE = 500
NO_VOTES = (None, None, -1e12, 0, 0)
NO_TIME = 1e12  # seconds: a vote without a time is later than any that has one
# Of a rater's votes on an image: the kind of the latest, how often those without a time changed (NULL: there are none),
# the time of the latest, and how many are likes and dislikes. A vote without a time is later than any that has one, so
# that `kind` is also that of the last one without a time. `moments` has the same of votes with one time.
TABLES = """
CREATE TABLE votes (key BLOB PRIMARY KEY, kind TEXT, switches INTEGER, at REAL, likes INTEGER, dislikes INTEGER)
    WITHOUT ROWID;
CREATE TABLE moments (key BLOB PRIMARY KEY, kind TEXT, switches INTEGER) WITHOUT ROWID;
CREATE TABLE contradicted (row INTEGER PRIMARY KEY, place TEXT, rater TEXT, kind TEXT, key BLOB);
CREATE TABLE outvoted (key BLOB PRIMARY KEY, image TEXT, rater TEXT) WITHOUT ROWID;
CREATE TABLE unrated (key BLOB PRIMARY KEY, image TEXT, rater TEXT, source TEXT) WITHOUT ROWID;
CREATE TABLE prompts (key BLOB PRIMARY KEY) WITHOUT ROWID"""
SELECT_CONTRADICTED = """
SELECT place, contradicted.rater FROM contradicted JOIN votes USING (key)
WHERE contradicted.kind = votes.kind ORDER BY row"""
COUNT_OUTDATED = "SELECT total(CASE kind WHEN 'like' THEN dislikes ELSE likes END) FROM votes"
SELECT_CORRECTIONS = "SELECT image, rater, kind FROM outvoted JOIN votes USING (key)"
SELECT_UNRATED = "SELECT image, rater, source FROM unrated WHERE key NOT IN (SELECT key FROM votes)"


class Changes:
    """How often each rater changed their mind on each image in a source. Use it in a `with` block."""

    def __init__(self) -> None:
        self._database = open_scratch(TABLES, CONTENTS)
        self._standing: dict[bytes, tuple[Any, ...]] = {}  # rows of `votes` that are to be written, by their key
        self._moments: dict[bytes, tuple[Any, ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def with_ranks(self, votes: Sequence[NewVote]) -> list[tuple[NewVote, bool]]:
        """Return the source's next votes, each with how often its rater had changed their mind before.

        Returns whether each is the rater's first vote on this image in the source, too. `add` then adds them.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        keys = [_key_of(vote.key, vote.rater) for vote in votes]
        times = [None if vote.created_at is None else vote.created_at.timestamp() for vote in votes]
        moment_keys = [None if at is None else _hash(f"{key.hex()} {at}") for key, at in zip(keys, times, strict=True)]
        self._standing = standing = self._rows("votes", keys)
        self._moments = moments = self._rows("moments", filter(None, moment_keys))
        ranked = []
        for vote, key, time, moment_key in zip(votes, keys, times, moment_keys, strict=True):
            last, switches, latest, likes, dislikes = standing.get(key, NO_VOTES)
            if moment_key is None:
                switches = 0 if switches is None else switches + (last != vote.kind)
                rank, at = switches, NO_TIME
            else:
                at = time
                rank = moments[moment_key][1] + (moments[moment_key][0] != vote.kind) if moment_key in moments else 0
                moments[moment_key] = vote.kind, rank
            kind = vote.kind if at >= latest else last
            likes, dislikes = likes + (vote.kind == "like"), dislikes + (vote.kind == "dislike")
            standing[key] = kind, switches, max(at, latest), likes, dislikes
            ranked.append(
                (replace(vote, switches=rank) if rank and vote.vote_id is None else vote, likes + dislikes == 1)
            )
        return ranked

    def add(self) -> None:
        """Add the votes that `with_ranks` has ranked.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        with in_sentences(CONTENTS):
            for table, rows in (("votes", self._standing), ("moments", self._moments)):
                if rows:
                    marks = ", ".join("?" for _ in next(iter(rows.values())))
                    values = ((key, *cells) for key, cells in rows.items())
                    self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, {marks})", values)
        self._standing, self._moments = {}, {}

    def _rows(self, table: str, keys: Iterable[bytes]) -> dict[bytes, tuple[Any, ...]]:
        """Return the rows of a table with these keys."""
        rows: dict[bytes, tuple[Any, ...]] = {}
        with in_sentences(CONTENTS):
            for part in in_parts(keys):
                marks = ", ".join("?" * len(part))
                found = self._database.execute(f"SELECT * FROM {table} WHERE key IN ({marks})", part)
                rows |= {key: tuple(cells) for key, *cells in found}
        return rows

    def add_outvoted(self, image: str, rater: str) -> None:
        """Note an image, by its key, on which the store's latest vote of this rater differs from a row."""
        with in_sentences(CONTENTS):
            row = (_key_of(image, rater), image, rater)
            self._database.execute("INSERT OR IGNORE INTO outvoted VALUES (?, ?, ?)", row)

    def add_contradicted(self, row: int, place: str, vote: NewVote) -> None:
        """Note a row, by its number and its place, whose rater's latest vote in the store is the opposite."""
        with in_sentences(CONTENTS):
            values = (row, place, vote.rater, vote.kind, _key_of(vote.key, vote.rater))
            self._database.execute("INSERT INTO contradicted VALUES (?, ?, ?, ?, ?)", values)

    def contradicted(self) -> Iterator[tuple[str, str]]:
        """Yield (place, rater) of the contradicted rows that agree with the source's latest vote."""
        with in_sentences(CONTENTS):
            yield from self._database.execute(SELECT_CONTRADICTED)

    def outdated(self) -> int:
        """Return how many rows hold the opposite of the source's latest vote of the same rater on the same image."""
        with in_sentences(CONTENTS):
            (number,) = self._database.execute(COUNT_OUTDATED).fetchone()
            return int(number)

    def corrections(self) -> Iterator[list[tuple[str, str, Kind]]]:
        """Yield (image, rater, kind), the source's latest votes where the store differs, some hundred at a time."""
        with in_sentences(CONTENTS):
            rows = self._database.execute(SELECT_CORRECTIONS)
            while part := rows.fetchmany(ROWS_AT_ONCE):
                yield part

    def add_prompts(self, prompts: Iterable[str]) -> None:
        """Add prompts for `has_prompt`."""
        with in_sentences(CONTENTS):
            self._database.executemany(
                "INSERT OR IGNORE INTO prompts VALUES (?)", ((_hash(prompt),) for prompt in prompts)
            )

    def has_prompt(self, prompt: str) -> bool:
        """Return whether a prompt was added."""
        with in_sentences(CONTENTS):
            rows = self._database.execute("SELECT 1 FROM prompts WHERE key = ?", (_hash(prompt),))
            return rows.fetchone() is not None

    def add_unrated(self, image: str, rater: str, source: str | None = None) -> None:
        """Note an image, by its key, that a row of the source shows without a vote of this rater."""
        with in_sentences(CONTENTS):
            row = (_key_of(image, rater), image, rater, source)
            self._database.execute("INSERT OR IGNORE INTO unrated VALUES (?, ?, ?, ?)", row)

    def unrated(self) -> Iterator[list[tuple[str, str, str | None]]]:
        """Yield (image, rater, source) of images without any vote in the source, some hundred at a time."""
        with in_sentences(CONTENTS):
            rows = self._database.execute(SELECT_UNRATED)
            while part := rows.fetchmany(ROWS_AT_ONCE):
                yield part


def _key_of(image: str, rater: str) -> bytes:
    """Return the key of one rater's votes on one image; image keys all have the same length."""
    return _hash(f"{image}{rater}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]
