"""What a checkpoint contains, by file, as tensors that are whole; of divided ones, every process gives its rows."""

from collections.abc import Iterator

import torch
from torch import Tensor

from thumbtune.models.shards import gathered
from thumbtune.models.shards import put as put_tensor
from thumbtune.training.optimizers import slots_of
from thumbtune.training.trainer import Training

ERRORS = "reference_errors"


def files_of(training: Training) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the name and the tensors of each file, on the CPU; nothing in processes that only give their rows.

    A training without an EMA, a synced reference or known errors of it has no file of them. One file at a time is
    gathered, so that the first process holds no more.
    """
    files = {
        "weights": lambda: dict(training.model.trainable()),
        "optimizer": lambda: _slots(training),
        "average": lambda: ema_of(training),
        "reference": training.model.reference_state,
        ERRORS: training.reference_errors.state,
    }
    for name, tensors in files.items():
        found = tensors()
        whole = gathered(found) if found or name in ("weights", "optimizer") else None
        if whole is not None:
            yield name, {key: value.detach().cpu().contiguous() for key, value in whole.items()}


def ema_of(training: Training) -> dict[str, Tensor]:
    """Return the EMA under the names of the weights; empty without one."""
    return dict(zip(dict(training.model.trainable()), training.ema.values, strict=False))


def _slots(training: Training) -> dict[str, Tensor]:
    return {f"{i}.{slot}": v for i, slots in slots_of(training.optimizer).items() for slot, v in slots.items()}


def by_parameter(stored: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the optimiser's slots by parameter: `0.exp_avg` of the file is `exp_avg` of parameter 0."""
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        index, _, slot = key.partition(".")
        slots.setdefault(int(index), {})[slot] = value
    return slots


def put(training: Training, weights: dict[str, Tensor], average: dict[str, Tensor]) -> None:
    """Copy stored weights, and their EMA, into a training."""
    with torch.no_grad():
        for name, parameter in training.model.trainable():
            put_tensor(parameter, weights[name])
        for name, value in ema_of(training).items():
            put_tensor(value, average[name])
