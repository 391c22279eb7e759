"""The process that starts the command of a job, waits for it and notes its exit code; it outlives the studio.

    python -m thumbtune.studio.jobs.supervisor FOLDER NUMBER LOCK COMMAND...

LOCK is the number of an open descriptor that holds the job's lock. The command inherits it too, so the lock ends when
the last of both has ended. A request to end is handed on to the command, once for each.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thumbtune.studio.jobs.files import JobFiles

NOT_STARTED = 127  # as shells say it
STOPPED = 130  # as errors.Interrupted, before there was a command


def supervise(files: JobFiles, lock: int, command: Sequence[str]) -> int:
    """Run a command to its end, and return its exit code, which is then in the file."""
    asked: list[int] = []
    child: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, frame: Any) -> None:
        asked.append(number)
        if child:
            child[0].send_signal(number)  # which does nothing if it has ended

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    files.write_processes(os.getpid())
    code = STOPPED
    if not asked:
        try:
            child.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(lock,)))
        except OSError as error:
            print(f"thumbtune: The command could not be started ({error.strerror}).", file=sys.stderr, flush=True)
            code = NOT_STARTED
    for process in child:
        if asked:  # while it was being started
            process.send_signal(asked[0])
        files.write_processes(os.getpid(), process.pid)
        code = process.wait()
    files.write_exit_code(code)
    return code


def main() -> None:
    """Read the words of the command line, and supervise."""
    folder, number, lock, *command = sys.argv[1:]
    supervise(JobFiles(Path(folder), int(number)), int(lock), command)


if __name__ == "__main__":
    main()
