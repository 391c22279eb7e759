"""Passes through a network that is divided among processes: all make equally many, also where one has less to do.

    this process    pass    pass    pass    (done)          every arrow asks: does anybody make one more pass?
                     |       |       |        |             a process that is done makes it along, with a stand-in,
    another one     pass   (done)  stand-in  (done)         whose result nobody reads and whose gradient is 0

`Lockstep` counts at the door of the network itself, so that a pass of a pipeline which draws counts as well. What goes
through the network stands inside `shared`, or `graph` if its gradient is made. In a training whose network is whole
in every process, `Alone` does nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.training.batch import Batch


class Alone:
    """Every process goes through a network of its own."""

    is_shared = False  # whether every process needs all others for a pass
    is_torn = False  # whether a pass ended half-way

    @contextmanager
    def shared(self, weights: Callable[[], AbstractContextManager[None]] = nullcontext) -> Iterator[None]:
        """Share the passes without gradients inside the `with` block.

        weights: makes all processes use other weights in it, as `model.reference` does: a pass reads those of all
        """
        yield

    @contextmanager
    def graph(self) -> Iterator[list[Tensor]]:
        """Share passes with gradients; at its end the list has the stand-ins' errors, to be added to the loss."""
        yield []

    def anywhere(self, flag: bool) -> bool:
        """Return whether the flag is set in any process that shares passes."""
        return flag


class Lockstep(Alone):
    """Passes of all processes, at the door of one network.

    stand_in: makes one pass and returns a number, whose gradient reaches what the passes of others reach
    """

    is_shared = True

    def __init__(self, network: nn.Module, accelerator: Any, stand_in: Callable[[], Tensor]) -> None:
        self.accelerator, self.stand_in = accelerator, stand_in
        self.is_torn = False
        self._is_open = self._is_standing_in = False
        network.register_forward_pre_hook(lambda *_: self._arrive(), prepend=True)  # before weights are gathered
        network.register_forward_hook(lambda *_: self._leave())

    def _arrive(self) -> None:
        assert self._is_open, "a pass through a divided network, which no other process makes along"
        if self.is_torn:
            raise ThumbtuneError(
                "A pass through the divided network ended half-way, probably for want of memory, and the other "
                "processes wait in it; continue with --resume and a lower train.micro_batch.",
                code="shard-pass-torn",
            )
        if not self._is_standing_in:
            self._count(1.0)
        self.is_torn = True  # until it is over

    def _leave(self) -> None:
        self.is_torn = False

    def _count(self, number: float) -> float:
        numbers = torch.tensor(number, device=self.accelerator.device)
        return float(self.accelerator.reduce(numbers, "sum"))

    @contextmanager
    def shared(self, weights: Callable[[], AbstractContextManager[None]] = nullcontext) -> Iterator[None]:
        """Make as many passes without a gradient as the process that makes most, all with these weights."""
        with self._opened(), torch.no_grad(), weights():
            try:
                yield
            except Exception:
                if not self.is_torn:  # the others go on, and wait for no pass
                    self._stand_in()
                raise
            self._stand_in()

    @contextmanager
    def graph(self) -> Iterator[list[Tensor]]:
        """Make as many passes with a gradient as the process that makes most; yield what the stand-ins' passes gave."""
        with self._opened():
            added: list[Tensor] = []
            yield added
            added += self._stand_in()

    @contextmanager
    def _opened(self) -> Iterator[None]:
        assert not self._is_open, "passes are shared once"
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False

    def _stand_in(self) -> list[Tensor]:
        """Make the passes that other processes still make; return what they gave."""
        made = []
        self._is_standing_in = True
        try:
            while self._count(0.0):
                made.append(self.stand_in())
        finally:
            self._is_standing_in = False
        return made

    def anywhere(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return self._count(float(flag)) > 0


def blank(batch: Batch) -> Batch:
    """Return a batch with zeros in place of its floats, so that no network overflows and a stand-in's gradient is 0.

    Masks and times stay: attention over nothing would be NaN.
    """

    def zeros(values: Any) -> Any:
        return torch.zeros_like(values) if isinstance(values, Tensor) and values.is_floating_point() else values

    return batch._changed(zeros)
