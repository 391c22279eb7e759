"""Memory that runs out is told from other errors, and smaller parts are tried."""

import platform
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from thumbtune import memory
from thumbtune.memory import free_in_machine, give_back, in_parts, of_process, ran_out, room_of_machine

OUT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    "error",
    [
        OUT,
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_errors_of_memory_are_told(error: Exception) -> None:
    assert ran_out(error)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 must have the same dtype"), ValueError("out of memory")])
def test_other_errors_are_none_of_memory(error: Exception) -> None:
    assert not ran_out(error)


def test_a_real_allocation_that_is_too_large_is_one_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert ran_out(caught.value)


GIB = 2**30
V1_NONE = 9223372036854771712  # no limit
V2 = ("memory.max", "memory.current", "memory.stat")
V1 = tuple(f"memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat"))
STAT = "anon 1\ninactive_file {}\ntotal_inactive_file {}\nactive_file 7\n"


@pytest.mark.parametrize(
    ("files", "limit", "taken", "stat", "room", "free"),
    [
        (V2, 16 * GIB, 10 * GIB, STAT.format(4 * GIB, 0), 16, 10),  # other processes count, pages of files do not
        (V1, 16 * GIB, 10 * GIB, STAT.format(0, 4 * GIB), 16, 10),
        (V2, 16 * GIB, 10 * GIB, None, 16, 6),
        (V2, 16 * GIB, 10 * GIB, "anon 5\n", 16, 6),
        (V2, 16 * GIB, GIB, STAT.format(2 * GIB, 0), 16, 16),  # the two are read one after the other
        (V2, 16 * GIB, 17 * GIB, STAT.format(0, 0), 16, 0),
        (V2, 16 * GIB, 10 * GIB, "inactive_file much", 16, 6),
        (V2, 16 * GIB, None, STAT.format(4 * GIB, 0), 16, 15),  # what this process takes
        (V2, "max", 10 * GIB, STAT.format(0, 0), 64, 48),
        (V1, V1_NONE, 10 * GIB, STAT.format(0, 0), 64, 48),
        (V2, 60 * GIB, 2 * GIB, STAT.format(0, 0), 60, 48),  # the machine has less than the container may take
        (V2, None, None, None, 64, 48),
    ],
)
def test_free_memory_is_what_all_processes_of_a_container_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: Sequence[str],
    limit: int | str | None,
    taken: int | None,
    stat: str | None,
    room: int,
    free: int,
) -> None:
    (tmp_path / "memory").mkdir()
    for name, text in zip(files, (limit, taken, stat), strict=True):
        if text is not None:
            (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory, "CGROUPS", str(tmp_path))
    monkeypatch.setattr(memory, "of_process", lambda: GIB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=64 * GIB, available=48 * GIB))
    assert room_of_machine() == room * GIB
    assert free_in_machine() == free * GIB


@pytest.mark.slow
def test_parts_are_halved_from_the_one_that_fails_on_and_every_row_is_worked_on_once() -> None:
    asked: list[int] = []

    def work(part: Sequence[int]) -> list[int]:
        asked.append(len(part))
        if 5 in part and len(part) > 2:
            raise OUT
        return [row * 10 for row in part]

    done = list(in_parts(range(11), 4, work))
    assert [list(part) for part, _ in done] == [[0, 1, 2, 3], [4, 5], [6, 7], [8, 9], [10]]
    assert [row for _, rows in done for row in rows] == [row * 10 for row in range(11)]
    assert asked == [4, 4, 2, 2, 2, 1]


@pytest.mark.slow
def test_one_row_that_is_too_much_and_any_other_error_are_raised() -> None:
    def too_much(part: Sequence[int]) -> None:
        raise OUT

    with pytest.raises(torch.OutOfMemoryError):
        list(in_parts([1, 2, 3], 3, too_much))

    def wrong(part: Sequence[int]) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(in_parts([1, 2, 3], 3, wrong))
    assert list(in_parts([], 3, wrong)) == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep less")
def test_freed_blocks_between_others_are_given_back() -> None:
    size = 100_000  # bytes: a block of so many lies on the heap
    blocks = [torch.ones(size, dtype=torch.uint8) for _ in range(2000)]
    full = of_process()
    kept = blocks[::2]
    del blocks
    give_back()
    assert full - of_process() > 0.8 * size * 1000
    assert sum(int(block[-1]) for block in kept) == 1000
