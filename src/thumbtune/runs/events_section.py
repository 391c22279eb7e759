"""The section of a recipe on event logs: how the rows of the Parquet files that `likes` names are read.

The readers of logs load SQLAlchemy and NumPy, and are loaded when an option needs them: help on options does not.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from thumbtune.errors import UsageError
from thumbtune.runs import values
from thumbtune.runs.recipe_sections import Section

if TYPE_CHECKING:
    from thumbtune.feedback.event_log.reading import EventReading


def _columns(value: str | None) -> str | None:
    if not value:
        return value
    from thumbtune.feedback.reading.columns import check_key, parse_map

    try:
        for key in parse_map(value):
            check_key(key)
        return value
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from error


def _words(value: str | None) -> str | None:
    if not value:
        return value
    from thumbtune.feedback.reading.own_words import parse_map_label

    try:
        parse_map_label(value)
        return value
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from error


class EventsSection(Section):
    """How the rows of an event log are read, where `likes` names Parquet files, as options of `thumbtune import`."""

    map: Annotated[str | None, AfterValidator(_columns)] = Field(
        default=None,
        description="The columns of an event log: image=jpg,prompt=caption,label=liked. Default: by their names.",
    )
    map_label: Annotated[str | None, AfterValidator(_words)] = Field(
        default=None, description="The meaning of your own labels in an event log: 'Like it=like,Reject=dislike'."
    )
    like_at: float | None = Field(
        default=None, description="Ratings of at least this number in an event log are likes, lower ones dislikes."
    )
    root: Annotated[Path | None, AfterValidator(values.home)] = Field(
        default=None,
        description="The folder that contains the images named by an event log. Default: the folder of its files.",
    )
    rater: str = Field(default="me", min_length=1, description="The rater of an event log's rows without one.")
    prompt: str | None = Field(default=None, description="The prompt of an event log's rows without one.")
    split: str | None = Field(default=None, description="The split of an event log's files to read, as train.")

    def reading(self) -> "EventReading":
        """Return these options as the log takes them."""
        from thumbtune.feedback.event_log.reading import EventReading
        from thumbtune.feedback.reading.columns import parse_map
        from thumbtune.feedback.reading.own_words import parse_map_label

        return EventReading(
            columns=parse_map(self.map) if self.map else {},
            words=parse_map_label(self.map_label) if self.map_label else {},
            like_at=self.like_at, root=self.root, rater=self.rater, prompt=self.prompt, split=self.split,
        )  # fmt: skip
