"""Memory that runs out is told from other errors, and smaller parts are tried."""

import platform
from collections.abc import Sequence

import pytest
import torch

from thumbtune.memory import give_back, in_parts, of_process, ran_out

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
