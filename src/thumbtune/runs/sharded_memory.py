"""What a process needs of a network that is divided among n processes (`train.shard`), beside its activations.

    here     = weights / n + moments, average and reference / n + gradients / n        all weights trained
             = frozen weights / n + LoRA and what belongs to it                        a LoRA
    gathered = weights outside of units + the unit at work + the next one, twice       in a pass
             + the gradient of the largest unit, twice                                 all weights trained

A gathered unit is there twice for a moment: as it was received, and as the weights that compute. So is its gradient.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from thumbtune.models.sharding import units_of


@dataclass(frozen=True, kw_only=True)
class Division:
    """How the weights of a network are divided. All numbers but `processes` are bytes.

    divided: the weights that are divided: without a LoRA, which is whole in every process
    units: those of each unit; the last one has the weights outside of all others
    is_full: whether all weights are trained, so that gradients, moments, average and reference are divided too
    """

    processes: int
    divided: int
    units: tuple[int, ...]
    is_full: bool

    def share(self, number: int) -> int:
        """Return the part of bytes that a process has, rounded up."""
        return -(-number // self.processes)

    @property
    def gathered(self) -> int:
        """Return what a pass and its gradient gather at most."""
        *units, rest = self.units
        most = sorted(units, reverse=True)[:2]
        return rest + sum(most) + max(most, default=0) + (2 * max(self.units) if self.is_full else 0)

    @property
    def saved(self) -> int:
        """Return the bytes of weights that are not here outside of passes."""
        return self.divided - self.share(self.divided)

    def of_step(self, counted: dict[str, Any], reference_weights: int) -> dict[str, Any]:
        """Return the counts of a step with what a process has of them.

        counted: the fields of an estimate; its peak of a step has divided moments and gradients already
        reference_weights: the bytes of a reference in float32, as numbers are exchanged with it
        """
        reference = self.share(reference_weights) if counted["reference"] and self.is_full else counted["reference"]
        less = counted["reference"] - reference
        return {
            **counted,
            "optimiser": counted["optimiser"] - less,
            "reference": reference,
            "step": counted["step"] - less - self.saved + self.gathered,
            "gathered": self.gathered,
        }


def division_of(network: nn.Module, processes: int) -> Division:
    """Return how a network, prepared for its training, is divided among processes."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    is_full = len(trained) == len(list(network.parameters()))
    units = [_bytes(unit, is_full) for unit in units_of(network)]
    divided = _bytes(network, is_full)
    return Division(processes=processes, divided=divided, units=(*units, divided - sum(units)), is_full=is_full)


def _bytes(module: nn.Module, is_full: bool) -> int:
    return sum(weight.nbytes for weight in module.parameters() if is_full or not weight.requires_grad)
