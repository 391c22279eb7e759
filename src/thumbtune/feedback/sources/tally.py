"""Who won how often: a tally of comparisons that fits any number of images, on disk and not in memory.

Pick-a-Pic compares a million images. Their wins and losses lie in a temporary SQLite database, of which a few
megabytes are in memory; it has no name and is gone once it is closed.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self

from thumbtune.feedback.scratch import in_sentences, open_scratch
from thumbtune.feedback.source import PairPolicy
from thumbtune.feedback.sources.preferences import Comparison, Counts, Outcome, Split, split_of

Reason = Literal["unlabelled", "alike", "unusable"]
KEY_BYTES = 16  # of SHA-256: two of a billion images share them with a chance of 1 in 10^21
NOBODY = ""  # who said it is not known, which is somebody else each time

WHAT = "The tally of comparisons"
TABLE = """
CREATE TABLE images (
    key BLOB PRIMARY KEY,
    wins INTEGER, losses INTEGER, ties INTEGER,
    user TEXT, users INTEGER,          -- who decided a comparison of it first; whether others did too
    partner BLOB, partners INTEGER,    -- the same of the image it was compared with
    latest TEXT,                       -- when it was last judged
    taken INTEGER
) WITHOUT ROWID"""
ADD = """
INSERT INTO images VALUES (?, ?, ?, ?, ?, 0, ?, 0, ?, 0)
ON CONFLICT (key) DO UPDATE SET
    wins = wins + excluded.wins, losses = losses + excluded.losses, ties = ties + excluded.ties,
    users = users OR ifnull(user <> excluded.user, 0), user = ifnull(user, excluded.user),
    partners = partners OR ifnull(partner <> excluded.partner, 0), partner = ifnull(partner, excluded.partner),
    latest = max(latest, excluded.latest)"""
LOOK = "SELECT wins, losses, ties, user, users, partner, partners, latest FROM images WHERE key = ? AND NOT taken"
# Each has the other as its only partner: then the two are a pair.
PAIRED = "SELECT 1 FROM images WHERE key = ? AND partner = ? AND NOT partners"
COUNT = "SELECT wins > 0, losses > 0, count(*) FROM images GROUP BY 1, 2"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What all comparisons together say of one image.

    user:      who decided all of them; None where several people did, or nobody knows who
    pair:      the same words for two images that were compared with each other alone
    judged_at: when the last of them was made
    """

    wins: int
    losses: int
    ties: int
    user: str | None = None
    pair: str | None = None
    judged_at: datetime | None = None

    @property
    def split(self) -> Split | None:
        """Its class; None where it only ever tied."""
        return split_of(self.wins, self.losses)


class Tally:
    """Comparisons, added one by one, and what they make of each image. Use it in a `with` block."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._images = open_scratch(TABLE, WHAT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._images.close()

    def add(self, comparison: Comparison, judged_at: datetime | None = None) -> None:
        """Count one comparison. One of an image with itself is no comparison.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        if comparison.a == comparison.b:
            self.leave_out("alike")
            return
        tie = comparison.outcome == "tie"
        self._rows["ties" if tie else "comparisons"] += 1
        a, b = key_of(comparison.prompt, comparison.a), key_of(comparison.prompt, comparison.b)
        user = None if tie else comparison.user or NOBODY
        when = "" if judged_at is None else judged_at.astimezone(UTC).isoformat(timespec="microseconds")
        rows = [
            (key, *_score(comparison.outcome, side), user, None if tie else partner, when)
            for key, side, partner in ((a, "a", b), (b, "b", a))
        ]
        with in_sentences(WHAT):
            self._images.executemany(ADD, rows)

    def leave_out(self, why: Reason) -> None:
        """Count a row that compares nothing."""
        self._rows[why] += 1

    def take(self, prompt: str, image: str) -> Standing | None:
        """What the comparisons say of an image, once; None for one that was taken before or never compared.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        key = key_of(prompt, image)
        with in_sentences(WHAT):
            row = self._images.execute(LOOK, (key,)).fetchone()
            if row is None:
                return None
            self._images.execute("UPDATE images SET taken = 1 WHERE key = ?", (key,))
            wins, losses, ties, user, users, partner, partners, latest = row
            paired = not partners and self._images.execute(PAIRED, (partner, key)).fetchone()
        return Standing(
            wins=wins,
            losses=losses,
            ties=ties,
            user=None if users or user == NOBODY else user,
            pair=_pair_name(key, partner) if paired else None,
            judged_at=datetime.fromisoformat(latest) if latest else None,
        )

    def counts(self, policy: PairPolicy) -> Counts:
        """How many comparisons and images of each class there are."""
        with in_sentences(WHAT):
            found = self._images.execute(COUNT).fetchall()
        images = {split_of(wins, losses) or "only_tied": number for wins, losses, number in found}
        return Counts(policy=policy, **self._rows, **images)  # type: ignore[arg-type]


def key_of(prompt: str, image: str) -> bytes:
    """What an image is known by: its own name and the prompt it was judged for."""
    text = f"{len(prompt)}:{prompt}{image}"  # the length keeps "a" + "bc" apart from "ab" + "c"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


def _score(outcome: Outcome, side: str) -> tuple[int, int, int]:
    """Wins, losses and ties of one side of a comparison."""
    if outcome == "tie":
        return 0, 0, 1
    return int(outcome == side), int(outcome != side), 0


def _pair_name(key: bytes, partner: bytes) -> str:
    return hashlib.sha256(min(key, partner) + max(key, partner)).hexdigest()[: 2 * KEY_BYTES]
