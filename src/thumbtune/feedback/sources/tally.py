"""Tally the wins and losses of any number of images, on disk and not in memory.

Pick-a-Pic compares a million images. Their wins and losses are in a temporary SQLite database without a name, with a
few megabytes in memory; closing deletes it.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self

from thumbtune.feedback.scratch import in_sentences, open_scratch
from thumbtune.feedback.source import PairPolicy
from thumbtune.feedback.sources.preferences import Comparison, ComparisonCounts, ComparisonResult, ImageClass, class_of

LeftOutReason = Literal["unlabelled", "alike", "unusable"]
KEY_BYTES = 16  # of SHA-256: two of a billion images share them with a chance of 1 in 10^21
NOBODY = b""  # an unknown user, who is another person each time

SCRATCH_NAME = "The tally of comparisons"
TABLE = """
CREATE TABLE images (
    key BLOB PRIMARY KEY,
    wins INTEGER, losses INTEGER, ties INTEGER,
    user BLOB, users INTEGER,          -- who decided a comparison of it first; whether others did too
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
# Two images are a pair if each is the only partner of the other.
PAIRED = "SELECT 1 FROM images WHERE key = ? AND partner = ? AND NOT partners"
COUNT = "SELECT wins > 0, losses > 0, count(*) FROM images GROUP BY 1, 2"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The result of all comparisons of one image.

    user:      the person who decided all of them; None for several people, or an unknown one
    pair:      a name shared by two images that were compared only with each other
    judged_at: the time of the latest comparison
    """

    wins: int
    losses: int
    ties: int
    user: str | None = None
    pair: str | None = None
    judged_at: datetime | None = None

    @property
    def image_class(self) -> ImageClass | None:
        """The class of the image; None if it only tied."""
        return class_of(self.wins, self.losses)


class Tally:
    """A tally of comparisons, which are added one by one. Use it in a `with` block."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._images = open_scratch(TABLE, SCRATCH_NAME)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._images.close()

    def add(self, comparison: Comparison, judged_at: datetime | None = None) -> None:
        """Count one comparison. An image beside itself counts as alike.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        if comparison.a == comparison.b:
            self.leave_out("alike")
            return
        tie = comparison.result == "tie"
        self._rows["ties" if tie else "comparisons"] += 1
        a, b = key_of(comparison.prompt, comparison.a), key_of(comparison.prompt, comparison.b)
        # as bytes, since SQLite takes no text with half a character, which the import refuses by name later
        user = None if tie else comparison.user.encode("utf-8", "surrogatepass") if comparison.user else NOBODY
        when = "" if judged_at is None else judged_at.astimezone(UTC).isoformat(timespec="microseconds")
        rows = [
            (key, *_score(comparison.result, side), user, None if tie else partner, when)
            for key, side, partner in ((a, "a", b), (b, "b", a))
        ]
        with in_sentences(SCRATCH_NAME):
            self._images.executemany(ADD, rows)

    def leave_out(self, why: LeftOutReason) -> None:
        """Count a row that compares nothing."""
        self._rows[why] += 1

    def take(self, prompt: str, image: str) -> Standing | None:
        """Return the standing of an image once; None if it was taken before or never compared.

        Raises:
            ThumbtuneError: the disk with the temporary files is full.
        """
        key = key_of(prompt, image)
        with in_sentences(SCRATCH_NAME):
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
            user=None if users or not user else user.decode("utf-8", "surrogatepass"),  # NOBODY is empty
            pair=_pair_name(key, partner) if paired else None,
            judged_at=datetime.fromisoformat(latest) if latest else None,
        )

    def counts(self, policy: PairPolicy) -> ComparisonCounts:
        """Count the comparisons, and the images of each class."""
        with in_sentences(SCRATCH_NAME):
            rows = self._images.execute(COUNT).fetchall()
        images = {class_of(wins, losses) or "only_tied": number for wins, losses, number in rows}
        return ComparisonCounts(policy=policy, **self._rows, **images)  # type: ignore[arg-type]


def key_of(prompt: str, image: str) -> bytes:
    """Return the key of an image: the hash of its name and its prompt."""
    text = f"{len(prompt)}:{prompt}{image}"  # the length keeps "a" + "bc" apart from "ab" + "c"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


def _score(result: ComparisonResult, side: str) -> tuple[int, int, int]:
    """Return the wins, losses and ties of one side of a comparison."""
    if result == "tie":
        return 0, 0, 1
    return int(result == side), int(result != side), 0


def _pair_name(key: bytes, partner: bytes) -> str:
    return hashlib.sha256(min(key, partner) + max(key, partner)).hexdigest()[: 2 * KEY_BYTES]
