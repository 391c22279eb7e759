"""A cache of computed scores by image, prompt and scorer, so that a new baseline costs only its own images.

A key holds everything that a score depends on: the hash of the image file, the prompt, and the scorer's name, weights,
preprocessing and precision.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.files import sha256

CACHE_FILE = Path("~/.cache/thumbtune/scores.sqlite")
CREATE_TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID"
KEYS_PER_QUERY = 500  # SQLite limits the number of values in a query
LOCK_TIMEOUT = 60  # seconds that one process waits for another

Key = tuple[str, str, str]  # sha256 of the image, prompt, scorer


class ScoreCache:
    """An SQLite file that several processes may use at once. With the path None it stores nothing."""

    def __init__(self, path: Path | None = CACHE_FILE) -> None:
        self.path = path.expanduser() if path is not None else None

    def get(self, keys: Iterable[Key]) -> dict[Key, float]:
        """Return the stored scores of these keys; keys without a score are left out."""
        hashed = {_hash(key): key for key in keys}
        if self.path is None or not self.path.exists():
            return {}
        scores: dict[Key, float] = {}
        hashes = list(hashed)
        with self._open() as database:
            for start in range(0, len(hashes), KEYS_PER_QUERY):
                part = hashes[start : start + KEYS_PER_QUERY]
                query = f"SELECT key, value FROM scores WHERE key IN ({','.join('?' * len(part))})"
                scores |= {hashed[key]: value for key, value in database.execute(query, part)}
        return scores

    def put(self, scores: Mapping[Key, float]) -> None:
        """Store all of these scores, or none if writing fails."""
        if self.path is None or not scores:
            return
        with self._open() as database, database:
            rows = [(_hash(key), value) for key, value in scores.items()]
            database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT)) as database:
                database.execute(CREATE_TABLE)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise ThumbtuneError(
                f"The score cache {self.path} cannot be used ({error}); delete that file.", code="score-cache-unusable"
            ) from error


def _hash(key: Key) -> str:
    return sha256("\0".join(key).encode())
