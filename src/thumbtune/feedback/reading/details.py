"""Read what stands beside a vote and never costs it: a seed, a time. What cannot be read is left out and counted."""

from collections.abc import Callable, Iterable
from functools import cached_property

from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading.cells import Cells, moment_in, seed_in
from thumbtune.feedback.reading.moments import AmbiguousDay, day_first_in
from thumbtune.feedback.source import LeftOut

SEED, TIME = "seed", "created_at"


class Details:
    """The reader of the seeds and times of one source; `times` yields the cells of its columns of times.

    They are read only if a date such as 5/3/2026 is met, whose day the other dates of the column must show.
    """

    def __init__(self, times: Callable[[], Iterable[object]] | None = None) -> None:
        self._times = times

    def read(self, cells: Cells, *names: str) -> tuple[dict[str, object], tuple[LeftOut, ...]]:
        """Return the named fields of a row that can be read, None for others, and the cells that were left out."""
        values: dict[str, object] = {}
        left_out: list[LeftOut] = []
        for name in names:
            try:
                values[name] = self._time(cells, name) if name == TIME else seed_in(cells, name)
            except ValueError:
                values[name] = None
                left_out.append((SEED if name.endswith(SEED) else name, shown(cells.get(name))))
        return values, tuple(left_out)

    def _time(self, cells: Cells, name: str) -> object:
        try:
            return moment_in(cells, name)
        except ValueError as error:
            if isinstance(error.__cause__, AmbiguousDay) and self._day_first is not None:
                return moment_in(cells, name, self._day_first)
            raise

    @cached_property
    def _day_first(self) -> bool | None:
        return day_first_in(self._times()) if self._times is not None else None
