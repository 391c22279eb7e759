"""How far a long work is: a bar in a terminal, and in a log a line a minute with the same facts.

    Tuning: 35 of 140, 2.1 s each, about 4 min left

A work within a work, such as encoding before the first step, is told in place of the outer one, and its time is not
counted as that of the outer one's items.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import length_hint
from time import monotonic
from typing import Any, ClassVar

import typer

from thumbtune.cli.terminal import duration, speaks

EVERY = 60.0  # seconds between two lines in a log


@dataclass(eq=False)
class Pace:
    """How much of a work is done, and how fast it goes; `others` are the seconds of works within it."""

    what: str
    total: int  # 0 or less: unknown
    begun: float
    done: int = 0
    start: int = 0  # what was done before, as by a training that is resumed
    others: float = 0.0
    under_way: ClassVar[list["Pace"]] = []

    def line(self, now: float) -> str:
        """Return the number of items that are done, the time of each, and the time that is left."""
        of = f" of {self.total:,}" if self.total > 0 else ""
        each = self._each(now)
        if each is None:
            return f"{self.what}: {self.done:,}{of}, {duration(now - self.begun)} so far"
        left = f", about {duration(each * (self.total - self.done))} left" if self.total > 0 else ""
        return f"{self.what}: {self.done:,}{of}, {rate(each)}{left}"

    def _each(self, now: float) -> float | None:
        """Return the seconds of an item; None while there is none."""
        items = self.done - self.start
        return (now - self.begun - self.others) / items if items else None

    def told(self, now: float) -> tuple[str, str]:
        """Return the rate and the time left, in words; empty while they are unknown."""
        each = self._each(now)
        if each is None:
            return "", ""
        return rate(each), f"{duration(each * (self.total - self.done))} left" if self.total > 0 else ""


def rate(each: float) -> str:
    """Return the speed of work by the seconds of an item.

    >>> rate(0.02), rate(0.5), rate(2.14), rate(75)
    ('50 a second', '2.0 a second', '2.1 s each', '1 min each')
    """
    if each < 1:
        return f"{1 / max(each, 1e-9):.{1 if each > 0.1 else 0}f} a second"  # noqa: PLR2004
    return f"{each:.1f} s each" if each < EVERY else f"{duration(each)} each"


def bar(items: Iterable[Any], what: str) -> Iterable[Any]:
    """Yield the items, and show on standard error how far the work is.

    `training.progress.Sized` says how many items count, where that is not one each.
    """
    from rich.console import Console

    total = length_hint(items, -1)
    if (total == 0 and hasattr(items, "__len__")) or not speaks():
        return items
    console = Console(stderr=True)
    return _in_terminal(items, what, total, console) if console.is_terminal else in_log(items, what, total)


def in_log(items: Iterable[Any], what: str, total: int, every: float = EVERY) -> Iterator[Any]:
    """Yield the items, and write a line on standard error each time that `every` seconds have passed, in or between."""
    pace, ended = Pace(what, total, monotonic()), threading.Event()

    def write() -> None:
        while not ended.wait(every):
            if Pace.under_way[-1:] == [pace]:
                typer.echo(f"     {pace.line(monotonic())}", err=True)

    threading.Thread(target=write, daemon=True).start()
    try:
        yield from _counted(items, pace)
    finally:
        ended.set()


def _in_terminal(items: Iterable[Any], what: str, total: int, console: Any) -> Iterator[Any]:
    """Yield the items beside a bar with their number, the rate and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    pace = Pace(what, total, monotonic())
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[left]}"))
    with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as shown:
        task = shown.add_task(f"     {what}", total=total if total > 0 else None, rate="", left="")
        for item in _counted(items, pace):
            speed, left = pace.told(monotonic())
            shown.update(task, completed=pace.done, rate=speed, left=left)
            yield item


def _counted(items: Iterable[Any], pace: Pace) -> Iterator[Any]:
    """Yield the items, and keep a pace's numbers up to date."""
    weight, place = getattr(items, "weight", None), getattr(items, "place", None)
    Pace.under_way.append(pace)
    try:
        for item in items:
            if place is not None:  # the work on it is done, and it has a number
                pace.start = place(item) - 1 if pace.done == 0 else pace.start
                pace.done = place(item)
            yield item
            if place is None:
                pace.done += weight(item) if weight is not None else 1
    finally:
        Pace.under_way.remove(pace)
        for outer in Pace.under_way[-1:]:
            outer.others += monotonic() - pace.begun
