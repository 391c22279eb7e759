"""The processes that a launcher started to share one piece of work."""

import atexit
import os
from datetime import timedelta
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, plural

LOST = 75  # EX_TEMPFAIL of sysexits.h: it may be tried again
PATIENCE = timedelta(hours=12)  # the first process may encode many images while the others wait for it


def team() -> Any:
    """Return Accelerate's state of this process among the others, on the best device; one process is a team too.

    By default Accelerate takes each process without a GPU for the only one: each would do all of the work, and
    overwrite the files of the others.

    Raises:
        UsageError: the processes cannot work together on this device.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    started = int(os.environ.get("WORLD_SIZE", "1"))
    _check_gpus(torch.cuda.device_count())
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (started > 1 and not torch.accelerator.is_available())
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    if state.num_processes < started:
        raise UsageError(
            f"{started} processes were started, and cannot work together on {state.device}; start one, or set "
            "ACCELERATE_USE_CPU=true to share the CPU.",
            code="processes-apart",
        )
    if state.num_processes > 1:
        atexit.unregister(_leave)
        atexit.register(_leave)
    return state


def _check_gpus(gpus: int) -> None:
    """Refuse more processes on this machine than it has GPUs, unless the CPU is asked for.

    Raises:
        UsageError: there are too few GPUs.
    """
    from accelerate.utils import parse_flag_from_env

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if 0 < gpus < here and not parse_flag_from_env("ACCELERATE_USE_CPU"):
        raise UsageError(
            f"{here} processes were started on a machine with {plural(gpus, 'GPU')}; start one for each GPU, or set "
            "ACCELERATE_USE_CPU=true to share the CPU.",
            code="processes-without-gpu",
        )


def _leave() -> None:
    """End the threads of the process group: a process that ends while they run is often aborted, with exit code 134."""
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


SIGNS_OF_LOSS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe", "store->get")


class ProcessLost(ThumbtuneError):
    """Another process ended, for a reason of its own, and this one cannot go on."""

    exit_code = LOST
    code = "process-lost"


def lost_process(error: RuntimeError) -> ThumbtuneError | None:
    """Return the sentence for an error that means that another process ended; None for any other error."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    is_of_torch = type(error).__name__ in {"DistBackendError", "DistNetworkError", "DistStoreError"}
    if not is_of_torch and not any(word in str(error).lower() for word in SIGNS_OF_LOSS):
        return None
    return ProcessLost(
        "Another process of this training ended, so this one ends too; read what the other one printed, then continue "
        "with --resume."
    )
