"""Tell of the progress of long work: a callback that is handed the items, and passes them on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Progress = Callable[[Iterable[Any], str], Iterable[Any]]


def quiet(items: Iterable[Any], what: str) -> Iterable[Any]:
    """Return the items unchanged: a progress callback that shows nothing."""
    return items


def waiting(progress: Progress, what: str, work: Callable[[], Any]) -> Any:
    """Return the result of one piece of work, such as loading a model, and let a progress callback tell of it."""
    (result,) = [work() for _ in progress([()], what)]
    return result


@dataclass(frozen=True)
class Sized:
    """Items with their total number, for a progress bar.

    weight: how many an item counts for, as a part of several images; None: one
    place:  the number of an item that is done, as of a step, which is not 1 for the first one of a resumed training
    """

    items: Iterable[Any]
    total: int
    weight: Callable[[Any], int] | None = None
    place: Callable[[Any], int] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return self.total


def in_images(parts: Sequence[Sequence[Any]]) -> Sized:
    """Return parts of images, whose progress is counted in images."""
    return Sized(parts, sum(map(len, parts)), weight=len)
