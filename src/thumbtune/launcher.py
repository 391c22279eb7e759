"""Start several processes of one command on this machine, which share its work, and end when they have ended.

The first process has the terminal. The others keep their errors in temporary files, and one of these is shown where it
alone tells why all ended. A signal reaches each process once: they do not belong to the group of the terminal.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

from thumbtune.distributed import LOST
from thumbtune.errors import ThumbtuneError, UsageError

START = (sys.executable, "-P", "-c", "from thumbtune.cli import main; main()")  # -P: a folder called torch is not torch
WORLD_SIZE = "WORLD_SIZE"  # the number of processes, of torch; each launcher sets it
PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # Windows has the first two alone
PATIENCE_SECONDS = 60.0  # for the others, after one has failed
POLL_SECONDS = 0.1
FROM_SIGNAL = 128  # what shells add to the number of the signal that ended a process

Process = subprocess.Popen[bytes]


def is_launched() -> bool:
    """Return whether a launcher started this process, as one of several or as the only one."""
    return WORLD_SIZE in os.environ


def run_in_processes(words: Sequence[str], count: int) -> int:
    """Run `thumbtune` with these words in several processes of this machine, and return one exit code for all.

    It is 0 if all succeeded, otherwise that of the first process that failed by itself.

    Raises:
        UsageError: a launcher started this process.
        ThumbtuneError: a process cannot be started; the others are ended.
    """
    if is_launched():
        raise UsageError(
            "A launcher (torchrun, accelerate launch) started this process, and --num-processes starts processes too; "
            "leave one of them out.",
            code="processes-launched-twice",
        )
    with ExitStack() as held:
        errors = [None, *(held.enter_context(tempfile.TemporaryFile()) for _ in range(count - 1))]
        shared = shared_environment(count)
        processes: list[Process] = []
        with _passing_on(processes):
            try:
                for rank, file in enumerate(errors):
                    processes.append(_started(words, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, file))
                failed = _wait(processes)
            except BaseException:  # those that run would wait for the others, for hours
                for process in processes:
                    _end(process)
                raise
        if not failed or 0 in failed:
            return _code(processes[0])
        if file := errors[failed[0]]:
            _show(file)
        return _code(processes[failed[0]])


def shared_environment(count: int) -> dict[str, str]:
    """Return how the processes find each other, and how many threads each has: the cores are shared."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    numbers = {WORLD_SIZE: count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    return {
        "OMP_NUM_THREADS": str(max(1, _cores() // count)),
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        **{name: str(number) for name, number in numbers.items()},
    }


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _started(words: Sequence[str], environment: Mapping[str, str], errors: IO[bytes] | None) -> Process:
    """Start one process; with a file for its errors, its output is dropped."""
    output = None if errors is None else subprocess.DEVNULL
    own_group = 0 if os.name == "posix" else None
    try:
        return subprocess.Popen(
            [*START, *words], env=environment, stdout=output, stderr=errors, process_group=own_group
        )
    except OSError as error:
        raise ThumbtuneError(
            f"Process {environment['RANK']} could not be started ({error.strerror or error}); close other programs, or "
            "start fewer processes.",
            code="process-not-started",
        ) from error


@contextmanager
def _passing_on(processes: Sequence[Process]) -> Iterator[None]:
    """Pass signals on to the processes inside the `with` block."""

    def pass_on(number: int, frame: object) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    numbers = [getattr(signal, name) for name in PASSED_ON if hasattr(signal, name)]
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: Sequence[Process]) -> list[int]:
    """Wait for all processes; return the ranks of those that failed by themselves, in their order of time.

    Once one has failed, the others end by themselves when they next wait for it, or are ended after `PATIENCE_SECONDS`:
    they may wait inside a computation that hears of nothing.
    """
    failed: list[int] = []
    running = list(range(len(processes)))
    deadline = float("inf")
    while running:
        time.sleep(POLL_SECONDS)
        ended = [rank for rank in running if processes[rank].poll() is not None]
        running = [rank for rank in running if rank not in ended]
        failed += [rank for rank in ended if _code(processes[rank]) not in {0, LOST}]
        if any(processes[rank].returncode for rank in ended):
            deadline = min(deadline, time.monotonic() + PATIENCE_SECONDS)
        if time.monotonic() > deadline:
            for rank in running:
                _end(processes[rank])
            break
    return failed


def _end(process: Process) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _code(process: Process) -> int:
    """Return the exit code of a process as a shell tells it."""
    code = process.wait()
    return FROM_SIGNAL - code if code < 0 else code


def _show(file: IO[bytes]) -> None:
    """Print what a process wrote."""
    file.seek(0)
    print(file.read().decode("utf-8", "replace"), end="", file=sys.stderr, flush=True)
