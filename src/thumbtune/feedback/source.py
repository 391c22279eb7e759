"""A like or dislike as it is found in somebody's files, and what a source of them is."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

Bytes = Callable[[], bytes]  # reads an image; raises UnreadableImage
# which images of comparisons in pairs are liked, as the authors' code names it: w won every time, i some of the times,
# l never; what stands before the underscore is liked, what stands behind it is not, and what is missing is left out
PairPolicy = Literal["w_l", "wi_l", "w_il"]


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """One like or dislike as it was found. What is missing is None.

    `problem` says why there is no image; beside an image, why there is no label where something stands for one.

    image:   called only where the bytes are needed, so that skipping rows costs nothing
    grade:   how much it is liked, 0..1, where people said more than a thumb
    pair:    the same words for images that were compared with each other
    vote_id: a UUID that the source has for this vote
    unrated:   whether the source only shows the image, and means to give it no thumb: then this is no row of it
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
    unrated: bool = False


class Source(Protocol):
    """Something that likes can be imported from."""

    def __iter__(self) -> Iterator[SourceRow]:
        """Go through everything once, in the same order each time."""
        ...

    def __length_hint__(self) -> int:
        """About how many there are, for a progress bar; 0 where nobody can tell."""
        ...


@runtime_checkable
class ShowsUnrated(Protocol):
    """A source that may show images without giving them a thumb."""

    def with_unrated(self) -> Iterator[SourceRow]:
        """What is found in it, and each image that it only shows, as `unrated`."""
        ...


@runtime_checkable
class HasCounts(Protocol):
    """A source that can say what is in it before anything is found, such as comparisons and their classes."""

    def counts(self) -> object:
        """Whole numbers by name, in a dataclass."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How somebody wants a source to be read.

    columns:        of a table: what we call a column -> what the table calls it; dots reach into nested cells
    like_at:        numbers from here up are likes, those below dislikes
    label:          a thumb for all that have none of their own, such as a folder of saved favourites
    policy:         which images of comparisons in pairs are liked
    split:          of a data set in several: which
    limit:          read so many rows and no more
    root:           files named by a table must lie below it; None: below the table's own folder
    allow_download: follow URLs
    encoding:       of text that is not UTF-8, such as cp1252
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    like_at: float | None = None
    label: bool | None = None
    policy: PairPolicy = "wi_l"
    split: str | None = None
    limit: int | None = None
    root: Path | None = None
    allow_download: bool = False
    encoding: str | None = None


DEFAULT_READING = Reading()
