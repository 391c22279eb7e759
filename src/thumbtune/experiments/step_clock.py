"""The processor time of a training's steps alone: without the pool, its labels, and what is encoded before step 1.

Trainings of a seed share these, and the first of them makes them; their time belongs to no method.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

DIGITS = 1


class StepClock:
    """Measure the steps after the first one of each training, or of each part of it, in seconds of the processor.

    A part that an earlier call began makes the whole time unknown.
    """

    def __init__(self) -> None:
        self.total: float | None = 0.0

    @property
    def seconds(self) -> float | None:
        """Return the seconds so far; None if not all of them were measured."""
        return None if self.total is None else round(self.total, DIGITS)

    def miss(self) -> None:
        """Note that steps were taken in an earlier call."""
        self.total = None

    def timed(self, steps: Iterable[Any], first: int = 1) -> Iterator[Any]:
        """Yield the steps of a training that is to begin with step `first`, each of which has its number as `step`."""
        begun = None
        for taken in steps:
            if begun is None:
                begun = time.process_time()
                if taken.step != first:
                    self.miss()
            yield taken
        if begun is not None and self.total is not None:
            self.total += time.process_time() - begun
