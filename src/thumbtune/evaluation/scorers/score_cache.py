"""Scores that were computed before, by image, prompt and scorer: a new baseline costs only its own images.

A key says everything that a score depends on: the image's bytes, the prompt, and of the scorer its name, its weights,
its preprocessing and its precision.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.files import sha256

HOME = Path("~/.cache/thumbtune/scores.sqlite")
TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID"
AT_ONCE = 500  # SQLite allows so many values in a question
PATIENCE = 60  # seconds that one process waits for another

Key = tuple[str, str, str]  # sha256 of the image, prompt, scorer


class ScoreCache:
    """A file that several processes may use at once. None as its path: remember nothing."""

    def __init__(self, path: Path | None = HOME) -> None:
        self.path = path.expanduser() if path is not None else None

    def get(self, keys: Iterable[Key]) -> dict[Key, float]:
        """Those of the keys that have a score."""
        names = {_name(key): key for key in keys}
        if self.path is None or not self.path.exists():
            return {}
        found: dict[Key, float] = {}
        asked = list(names)
        with self._open() as database:
            for start in range(0, len(asked), AT_ONCE):
                part = asked[start : start + AT_ONCE]
                question = f"SELECT key, value FROM scores WHERE key IN ({','.join('?' * len(part))})"
                found |= {names[key]: value for key, value in database.execute(question, part)}
        return found

    def put(self, scores: Mapping[Key, float]) -> None:
        """Remember scores, all of them or none."""
        if self.path is None or not scores:
            return
        with self._open() as database, database:
            rows = [(_name(key), value) for key, value in scores.items()]
            database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as database:
                database.execute(TABLE)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise ThumbtuneError(
                f"The scores computed before, in {self.path}, cannot be used ({error}); delete that file."
            ) from error


def _name(key: Key) -> str:
    return sha256("\0".join(key).encode())
