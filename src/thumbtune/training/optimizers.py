"""The optimisers, and what each keeps of every weight: its slots, as checkpoints store them.

adamw        two moments in float32
adamw-8bit   the same moments, 8 bits each with a scale for every 256; of weights with less than 4096 numbers in float32

Sources: Loshchilov and Hutter, arXiv 1711.05101; Dettmers et al., arXiv 2110.02861 (bitsandbytes).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from thumbtune.bitsandbytes import load
from thumbtune.models.shards import is_sharded

Name = Literal["adamw", "adamw-8bit"]
STEP = "step"
MOMENTS = {"adamw": ("exp_avg", "exp_avg_sq"), "adamw-8bit": ("state1", "state2")}
SCALES = {"absmax1", "absmax2"}  # of moments in 8 bits
LEVELS = {"qmap1": "dynamic", "qmap2": "udynamic"}  # what their codes stand for: the same for all, so not stored
IN_8_BITS = torch.uint8
IN_FLOAT, BLOCK = 4096, 256  # bitsandbytes keeps smaller ones in float32, and a scale for each block of larger ones
LARGE = 100_000_000  # weights


def optimizer_of(
    name: Name, parameters: Sequence[torch.nn.Parameter], lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return an optimiser of some weights.

    Raises:
        ThumbtuneError: it needs a library that is missing.
    """
    if name == "adamw":
        # of a whole network on a GPU, the usual form needs a copy of all weights more
        large = parameters[0].is_cuda and sum(weight.numel() for weight in parameters) > LARGE
        return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=True if large else None)
    return load("train.optimizer=adamw-8bit").optim.AdamW8bit(parameters, lr, weight_decay=weight_decay)


def bytes_of_moments(name: Name, parameters: Iterable[Tensor]) -> int:
    """Return the bytes that an optimiser keeps of some weights, without making it."""
    numbers = [weight.numel() for weight in parameters]
    if name == "adamw":
        return sum(8 * count for count in numbers)
    return sum(8 * count if count < IN_FLOAT else 2 * count + 8 * math.ceil(count / BLOCK) for count in numbers)


def slots_of(optimizer: Any) -> dict[int, dict[str, Tensor]]:
    """Return the slots of an optimiser by the number of the weight, on the CPU but for divided ones."""
    stored = optimizer.state_dict()["state"]
    return {
        number: {slot: _tensor(value) for slot, value in _flat(slots).items() if slot not in LEVELS}
        for number, slots in stored.items()
    }


def _flat(slots: Mapping[str, Any]) -> dict[str, Any]:
    """Return slots in one mapping: bitsandbytes puts some of them into one inside."""
    inside = [value for value in slots.values() if isinstance(value, Mapping)]
    plain = {slot: value for slot, value in slots.items() if not isinstance(value, Mapping)}
    return plain | {slot: value for one in inside for slot, value in one.items()}


def _tensor(value: Any) -> Tensor:
    tensor = torch.as_tensor(value).detach()
    return tensor if is_sharded(tensor) else tensor.cpu().contiguous()


def put_slots(optimizer: Any, slots: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Give an optimiser the slots that `slots_of` returned."""
    state: Mapping[int, Mapping[str, Any]] = slots
    if name_of(slots) == "adamw-8bit":
        own = getattr(optimizer, "optimizer", optimizer)  # inside that of Accelerate
        levels = {slot: own.name2qmap[kind] for slot, kind in LEVELS.items()}
        state = {
            number: {**one, STEP: int(one[STEP]), **(levels if SCALES <= one.keys() else {})}  # it counts in Python
            for number, one in slots.items()
        }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def name_of(slots: Mapping[int, Mapping[str, Tensor]]) -> str:
    """Return the name of the optimiser that slots are of; "adamw" if there are none.

    Raises:
        ValueError: they are of none that is known, or not of one alone.
    """
    found = {_name_of(number, one) for number, one in slots.items()}
    if len(found) > 1:
        raise ValueError("the slots of the optimiser are of two kinds")
    return found.pop() if found else "adamw"


def _name_of(number: int, slots: Mapping[str, Tensor]) -> str:
    for name, moments in MOMENTS.items():
        scales = SCALES if any(slots[one].dtype == IN_8_BITS for one in moments if one in slots) else set()
        if slots.keys() == {STEP, *moments, *scales}:
            return name
    raise ValueError(f"the optimiser has the slots {', '.join(sorted(slots))} for weight {number}")


def fits(slots: Mapping[str, Tensor], shape: torch.Size) -> bool:
    """Return whether the slots of a weight are as large as its shape asks."""
    moments = [value for slot, value in slots.items() if slot not in {STEP, *SCALES}]
    return slots[STEP].numel() == 1 and all(value.shape == shape for value in moments)
