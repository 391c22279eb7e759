"""A network whose weights are divided among processes: FSDP2 of torch.

    pass       the weights of one unit are gathered, used, and dropped; for the gradient once more
    gradient   summed over the processes, each of which keeps the sum of its own rows

Source: Zhao et al., arXiv 2304.11277 (FSDP); `torch.distributed.fsdp.fully_shard`. Every gathering is one of all
processes: a pass that one of them makes alone would wait for ever (`training/lockstep.py`).
"""

from typing import Any

import torch
from torch import nn

from thumbtune.errors import UsageError
from thumbtune.models.block_offload import blocks_of
from thumbtune.models.devices import keep_in_place


def shard(network: nn.Module, device: torch.device) -> None:
    """Divide the weights of a network among all processes; trained ones only if all of it is trained.

    Matrices of a LoRA stay whole in every process: they are small. Each block moves to the device before it is divided,
    so a device never has to hold the whole network.

    Raises:
        UsageError: as `check_torch`.
    """
    from torch.distributed import get_world_size
    from torch.distributed.device_mesh import init_device_mesh

    fully_shard, mesh = check_torch(), init_device_mesh(device.type, (get_world_size(),))
    is_adapter = any(not weight.requires_grad for weight in network.parameters())
    whole = {weight for weight in network.parameters() if weight.requires_grad} if is_adapter else set()
    for weight in whole:
        weight.data = weight.data.to(device)
    for module in (*units_of(network), network):
        name = type(module).__name__
        # also the rest of the network gives its weights back after a pass: whatever changes them then reaches the next
        sharded: Any = fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=whole)
        sharded.set_gradient_divide_factor(1.0)  # the gradient is a sum over the images of all processes
        sharded.set_force_sum_reduction_for_comms(True)  # gloo has no other one
        type(module).__name__ = name  # of a class of its own; diffusers writes it into config.json
    keep_in_place(network)


def units_of(network: nn.Module) -> list[nn.Module]:
    """Return the modules whose weights are gathered together: the smallest blocks that diffusers does not split.

    Those of a network that names none are the blocks of its lists. Weights outside of them are one more unit.
    """
    names = set(getattr(network, "_no_split_modules", None) or ())
    in_lists = {part for parent in network.modules() if isinstance(parent, nn.ModuleList) for part in parent}
    named = [part for part in network.modules() if part in in_lists and type(part).__name__ in names]
    units = [unit for unit in named if not any(other in named for other in [*unit.modules()][1:])]
    return [unit for unit in units or blocks_of(network) if any(True for _ in unit.parameters())]


def check_torch() -> Any:
    """Return torch's function that divides a network.

    Raises:
        UsageError: this torch has none.
    """
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise UsageError(
            f"train.shard: torch {torch.__version__} cannot divide a network among processes here ({error}); leave "
            "train.shard out, or install a torch with torch.distributed.",
            code="shard-missing",
        ) from error
    return fully_shard
