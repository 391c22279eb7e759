"""The processes that a launcher started for one piece of work, and that share it."""

import os
from datetime import timedelta
from typing import Any

from thumbtune.errors import UsageError

PATIENCE = timedelta(hours=12)  # the first process may encode many images while the others wait for it


def team() -> Any:
    """Accelerate's state of this process among the others, on the best device; one process is a team too.

    Left to itself Accelerate takes processes without a GPU for strangers: each would do all of the work, and write
    over the others.

    Raises:
        UsageError: they cannot work together on the device that there is.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    started = int(os.environ.get("WORLD_SIZE", "1"))
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (started > 1 and not torch.accelerator.is_available())
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    if state.num_processes < started:
        raise UsageError(
            f"{started} processes were started, and do not know each other on {state.device}: start one, or set "
            "ACCELERATE_USE_CPU=true, with which they share the CPU."
        )
    return state
