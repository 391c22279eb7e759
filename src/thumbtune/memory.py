"""Memory: how much there is, which errors mean that it ran out, and how to go on in smaller parts."""

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")

# what torch's allocators of CPU and Apple GPUs, and the system, say in a RuntimeError or an OSError
NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_cpu", "out of memory")
NO_MEMORY += ("cublas_status_alloc_failed", "cudnn_status_alloc_failed")
CGROUPS = "/sys/fs/cgroup"
# of a container on Linux: its limit, what it takes, and the entry in memory.stat of the pages that can be given back
LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of the accelerator or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return True
    return isinstance(error, RuntimeError | OSError) and any(part in str(error).casefold() for part in NO_MEMORY)


def make_room() -> None:
    """Give back the memory that a failed attempt left behind: freed blocks of the accelerator's allocator too."""
    import torch

    gc.collect()
    give_back()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def give_back() -> None:
    """Give the system back what freed blocks of the machine's memory left between others; glibc keeps it otherwise."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def in_parts(
    rows: Sequence[Row],
    at_once: int,
    work: Callable[[Sequence[Row]], Result],
    kind: Callable[[Row], object] = lambda row: None,
) -> Iterator[tuple[Sequence[Row], Result]]:
    """Yield each part of the rows, at most `at_once` of them, with the result of `work` on it.

    A part for which memory runs out is halved and tried again, and so are all parts after it.

    kind: what all rows of a part have in common; rows of one kind should stand together

    Raises:
        Exception: whatever `work` raises; the error of memory itself, if one row alone is too much.
    """
    start = 0
    while start < len(rows):
        part = rows[start : start + at_once]
        same = list(takewhile(lambda row: kind(row) == kind(part[0]), part))  # noqa: B023 - called here
        part = part[: len(same)]
        try:
            result = work(part)
        except Exception as error:
            if not ran_out(error) or len(part) == 1:
                raise
            at_once = len(part) // 2
        else:
            yield part, result
            start += len(part)
            continue
        make_room()  # outside of `except`, whose traceback holds the tensors of the failed attempt


def room_of(device: Any) -> int:
    """Return the bytes of memory that a device has in all: of a GPU its own, of a CPU what this process may use."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if kind == "mps":
        return torch.mps.recommended_max_memory()
    return room_of_machine()


def room_of_machine() -> int:
    """Return the bytes of memory of this machine, or of the container in which the process runs."""
    import psutil

    return min([psutil.virtual_memory().total, *(limit for limit, _ in _containers())])


def _containers() -> Iterator[tuple[int, int]]:
    """Yield the limit of each container of this process, and what its processes take together."""
    for limit, taken, pages in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # `max` is no limit
            yield _number_in(limit), _taken(taken, pages)


def _taken(file: str, pages: str) -> int:
    """Return what a container takes, less the pages that can be given back; what this process takes if not told."""
    try:
        taken = _number_in(file)
    except (OSError, ValueError):
        return of_process()
    with contextlib.suppress(OSError, ValueError):
        for line in Path(CGROUPS, file).with_name("memory.stat").read_text(encoding="ascii").splitlines():
            name, _, number = line.partition(" ")
            if name == pages:
                return max(0, taken - int(number))
    return taken


def _number_in(file: str) -> int:
    return int(Path(CGROUPS, file).read_text(encoding="ascii"))


def free_in_machine() -> int:
    """Return the bytes of memory that can still be had: what is free here, or what all processes of a container left.

    Pages of files that were not used lately count as free: the system takes them back.
    """
    import psutil

    free = psutil.virtual_memory().available
    return max(0, min([free, *(limit - taken for limit, taken in _containers())]))


def of_process() -> int:
    """Return the bytes of memory that this process takes now: its programs and its data."""
    import psutil

    return psutil.Process().memory_info().rss
