"""The options for reading an event log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thumbtune.feedback.source import Reading


@dataclass(frozen=True, kw_only=True)
class EventReading:
    """How the rows of a log are read: the options of `thumbtune import` that a log has.

    rater, prompt: of rows that name none
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    like_at: float | None = None
    split: str | None = None
    root: Path | None = None
    rater: str = "me"
    prompt: str | None = None

    @property
    def reading(self) -> Reading:
        """The options that the reader of rows understands."""
        return Reading(columns=self.columns, words=self.words, like_at=self.like_at, root=self.root)
