"""The interface of sources: the rows that a source of likes yields, and the options for reading it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from thumbtune.feedback.prompts import Syntax

Bytes = Callable[[], bytes]  # reads an image; may raise UnreadableImage
# which images of pairwise comparisons are liked, named as in the authors' code: w won all comparisons, i some, l none;
# classes before the underscore are liked, those behind it disliked, and missing ones left out
PairPolicy = Literal["w_l", "wi_l", "w_il"]
LeftOut = tuple[str, str]  # the name of a field, and a cell that was not read as one


@dataclass(kw_only=True, slots=True)  # not frozen, which takes three times as long to make; nobody changes one
class SourceRow:
    """One like or dislike in a source. Missing values are None.

    `problem` says why there is no image. Beside an image, it says why a label could not be read.

    where:   the row's place in the source, for messages
    image:   called only if the bytes are needed, so that skipped rows cost nothing
    grade:   how much the image is liked, in [0, 1], if raters gave more than a like or dislike
    pair:    equal for images that were compared with each other
    vote_id: the source's UUID of this vote
    syntax:  of the prompt, if it is known which tool wrote it
    unrated: whether the source shows the image without a vote on purpose; such a row is not counted as one
    unread:  the word that is no label, if that is why there is none
    left_out: cells beside the vote that were not read, such as a seed that does not fit
    """

    where: str
    image: Bytes | None = None
    prompt: str | None = None
    liked: bool | None = None
    problem: str | None = None
    rater: str | None = None
    weight: float = 1.0
    grade: float | None = None
    reason: str | None = None
    pair: str | None = None
    seed: int | None = None
    model: str | None = None
    source: str | None = None
    created_at: datetime | None = None
    vote_id: str | None = None
    syntax: Syntax | None = None
    unrated: bool = False
    unread: str | None = None
    left_out: tuple[LeftOut, ...] = ()


class Source(Protocol):
    """A source that likes can be imported from."""

    def __iter__(self) -> Iterator[SourceRow]:
        """Yield each row once, in the same order each time."""
        ...

    def __length_hint__(self) -> int:
        """Return the approximate number of rows, for a progress bar; 0 if unknown."""
        ...


@runtime_checkable
class ShowsUnrated(Protocol):
    """A source that may contain images without a vote."""

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield each row, and each image without a vote as an `unrated` row."""
        ...


@runtime_checkable
class HasCounts(Protocol):
    """A source with numbers of its own, such as comparisons and their classes."""

    def counts(self) -> object:
        """Return whole numbers by name, in a dataclass."""
        ...


@runtime_checkable
class Describes(Protocol):
    """A source that tells how it was read, such as which column as what."""

    def described(self) -> list[str]:
        """Return lines for people, complete once all rows are read."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The options for reading a source.

    columns:        of a table: our name of a column -> the table's; dots reach into nested cells
    words:          labels in words of one's own, in their plain form -> like, dislike or skip; of comparisons: first,
                    second, tie or skip
    like_at:        ratings from here up are likes, lower ones dislikes
    label:          the label of images without one, such as a folder of saved favourites
    policy:         which images of pairwise comparisons are liked
    split:          which split of a data set to read
    limit:          the most rows to read
    root:           files named by a table must lie below it; None: below the table's own folder
    allow_download: follow URLs
    encoding:       of text that is not UTF-8, such as cp1252
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    like_at: float | None = None
    label: bool | None = None
    policy: PairPolicy = "wi_l"
    split: str | None = None
    limit: int | None = None
    root: Path | None = None
    allow_download: bool = False
    encoding: str | None = None


DEFAULT_READING = Reading()
