"""What other programs ask of a process: to end (Ctrl-C, SIGTERM), to save (SIGUSR1), or to draw samples (SIGUSR2).

Clusters and containers send SIGTERM before they kill, and SLURM sends SIGUSR1 before a time limit where it is told to.
Both are answered after the step under way; a second request to end does not wait for it. Python answers none while a
kernel computes, which takes minutes for a very large image: a thread then ends the process after a second request.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from thumbtune.errors import Interrupted, Terminated

SAVE = getattr(signal, "SIGUSR1", None)  # missing on Windows
SAMPLE = getattr(signal, "SIGUSR2", None)
ENDS = (signal.SIGINT, signal.SIGTERM)
GRACE = 5.0  # seconds that a process has to end by itself after a second request
STOPPED = b"thumbtune: Stopped in the middle of a computation; what was saved before is whole.\n"


class Requests:
    """What was asked since the block began."""

    def __init__(self) -> None:
        self.end: type[Interrupted] | None = None
        self._save = self._sample = self._agreed = False

    def to_end(self, number: int, frame: Any) -> None:
        """Note a request to end."""
        self.end = Terminated if number == signal.SIGTERM else Interrupted

    def to_save(self, number: int, frame: Any) -> None:
        """Note a request to save."""
        self._save = True

    def take_save(self) -> bool:
        """Return whether a save was asked for since the last call."""
        asked, self._save = self._save, False
        return asked

    def to_sample(self, number: int = 0, frame: Any = None) -> None:
        """Note a request for samples."""
        self._sample = True

    def take_sample(self) -> bool:
        """Return whether samples were asked for since the last call."""
        asked, self._sample = self._sample, False
        return asked

    def agree(self) -> None:
        """Note that all processes know of a request for samples."""
        self._agreed = True

    def take_agreed(self) -> bool:
        """Return whether there was a request for samples that all processes know of, since the last call."""
        agreed, self._agreed = self._agreed, False
        return agreed


@contextmanager
def requests(asked: Requests | None = None) -> Iterator[Requests]:
    """Note requests inside the `with` block; a second one to end is answered as before the block, at once.

    Outside of the main thread, where Python receives no signals, none is noted.

    asked: where they are noted; None: in a new object
    """
    asked = asked or Requests()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    work = {number: act for number, act in ((SAVE, asked.to_save), (SAMPLE, asked.to_sample)) if number}
    before = {number: signal.getsignal(number) for number in (*ENDS, *work)}

    def end(number: int, frame: Any) -> None:
        asked.to_end(number, frame)
        for one in ENDS:
            signal.signal(one, before[one])

    for number in ENDS:
        signal.signal(number, end)
    for number, act in work.items():
        signal.signal(number, act)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Listener:
    """The handlers of a whole command: SIGTERM stops it as Ctrl-C does; SIGUSR1 and SIGUSR2 do nothing by themselves.

    terminated: whether SIGTERM came
    """

    def __init__(self) -> None:
        self.terminated = False

    def listen(self) -> None:
        """Install the handlers."""
        signal.signal(signal.SIGTERM, self._terminate)
        for number in filter(None, (SAVE, SAMPLE)):
            signal.signal(number, lambda number, frame: None)  # its default would end a command that saves as it goes

        _end_after_second_request()

    def _terminate(self, number: int, frame: Any) -> None:
        self.terminated = True
        raise KeyboardInterrupt


def _end_after_second_request() -> None:
    """Let a thread end the process `GRACE` seconds after a second request to end, whatever the process computes."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        with theirs:  # which would be closed if nothing held it
            asked, number = 0, 0
            while asked < 2:  # noqa: PLR2004 - a second request
                number = ours.recv(1)[0]
                asked += number in ENDS
            time.sleep(GRACE)
            with contextlib.suppress(OSError):
                os.write(2, STOPPED)
            os._exit(Terminated.exit_code if number == signal.SIGTERM else Interrupted.exit_code)

    threading.Thread(target=watch, daemon=True, name="thumbtune-signals").start()
