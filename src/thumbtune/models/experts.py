"""Several networks that denoise as one, each at times of its own: each row goes through the one of its time.

t >= boundary    the first network, of high noise
t <  boundary    the second one, of low noise

Each network has a LoRA of its own, and one run trains both.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from thumbtune.errors import UsageError
from thumbtune.models.protocol import Trained, Tuning


@runtime_checkable
class TuningOfSeveral(Tuning, Protocol):
    """A way to tune that works on each of several networks alike."""

    def called(self, name: str, is_first: bool) -> Tuning:
        """Return it for the network that people call so, the first or another one."""
        ...


class Experts(nn.Module):
    """Two networks of one kind as one.

    boundary: the lowest time at which the first network is asked
    """

    def __init__(self, networks: Mapping[str, nn.Module], boundary: float) -> None:
        super().__init__()
        self.experts = nn.ModuleList(networks.values())
        self.boundary = boundary

    def forward(self, *, timestep: Tensor, **inputs: Any) -> tuple[Tensor]:
        """Return the networks' answers to all rows, in their order.

        timestep: of each row, [b], or of each of its tokens, [b, tokens]
        inputs: what a network is told beside; the tensors have a row for each of the batch
        """
        high, low = self.experts
        if isinstance(timestep, FakeTensor):  # it has no values, and both networks need the same memory
            return high(timestep=timestep, **inputs)
        is_high = timestep.flatten(1).amax(1) >= self.boundary if timestep.dim() > 1 else timestep >= self.boundary
        parts = [(network, own.nonzero().flatten()) for network, own in ((high, is_high), (low, ~is_high))]
        parts = [(network, rows) for network, rows in parts if len(rows)]
        if len(parts) == 1:
            return parts[0][0](timestep=timestep, **inputs)
        answers = [network(timestep=timestep[rows], **_rows_of(inputs, rows))[0] for network, rows in parts]
        order = torch.cat([rows for _, rows in parts]).argsort()
        return (torch.cat(answers)[order],)


def _rows_of(inputs: Mapping[str, Any], rows: Tensor) -> dict[str, Any]:
    return {name: value[rows] if isinstance(value, Tensor) else value for name, value in inputs.items()}


class TrainedExperts:
    """The trained parts of several networks, by the networks' names; the methods are those of `Trained`.

    The first network's weights have the names that it would have alone; the name of any other is put before its own.
    All of them write their files into one folder, under names of their own.
    """

    def __init__(self, parts: Mapping[str, Trained]) -> None:
        first = next(iter(parts))
        self.parts = {"" if part == first else part: trained for part, trained in parts.items()}

    def reference(self) -> AbstractContextManager[None]:
        return self._reference()

    @contextmanager
    def _reference(self) -> Iterator[None]:
        with ExitStack() as stack:
            for trained in self.parts.values():
                stack.enter_context(trained.reference())
            yield

    def freeze_reference(self) -> None:
        for trained in self.parts.values():
            trained.freeze_reference()

    def reference_state(self) -> dict[str, Tensor]:
        return {
            _name(part, key): value
            for part, trained in self.parts.items()
            for key, value in trained.reference_state().items()
        }

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        others = tuple(f"{part}." for part in self.parts if part)
        for part, trained in self.parts.items():
            start = f"{part}." if part else ""
            own = {key for key in state if (key.startswith(start) if part else not key.startswith(others))}
            trained.restore_reference({key.removeprefix(start): state[key] for key in state if key in own})

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((_name(part, key), weight) for part, one in self.parts.items() for key, weight in one.trainable())

    def save(self, folder: Path) -> None:
        for trained in self.parts.values():
            trained.save(folder)

    def load(self, folder: Path) -> None:
        for trained in self.parts.values():
            trained.load(folder)


def _name(part: str, key: str) -> str:
    return f"{part}.{key}" if part else key


def tuned(tuning: Tuning, networks: Mapping[str, nn.Module], seed: int, called: Mapping[str, str]) -> Trained:
    """Prepare all networks of a model for training, and return them with their reference.

    called: what people call each network, where there are several; it is in the names of the files for ComfyUI

    Raises:
        UsageError: there are several, and `tuning` is not a new LoRA.
    """
    if len(networks) == 1:
        return tuning.on(next(iter(networks.values())), seed)
    if not isinstance(tuning, TuningOfSeveral):
        raise UsageError(
            f"This model has {len(networks)} networks ({', '.join(networks)}), each of which gets a new LoRA; leave "
            "out lora.start, and train.weights or set it to lora.",
            code="model-experts-tuning",
        )
    parts: dict[str, Trained] = {}
    for place, (part, network) in enumerate(networks.items()):
        parts[part] = tuning.called(called[part], place == 0).on(network, seed + place)
    return TrainedExperts(parts)
