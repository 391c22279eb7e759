"""A studio in a process of its own, which can be killed and started again, and a proxy that is as slow as the web."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
START = "from thumbtune.cli import main; main()"
LINK = re.compile(r"http://\S+token=\S+")
PATIENCE = 30.0


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Studio:
    """`thumbtune studio` on a store; use it in a `with`."""

    def __init__(self, likes: Path | str, port: int | None = None, *options: str) -> None:
        self.port = port or free_port()
        self.words = ["studio", "--likes", str(likes), "--port", str(self.port), *options]
        self.links: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> float:
        """Start it, and return after how many seconds it printed its link."""
        begin = time.monotonic()
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, *self.words], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.links = []
        for line in self._process.stdout:
            self.links += LINK.findall(line)
            if "Ctrl-C" in line:
                break
        took = time.monotonic() - begin
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return took
            assert time.monotonic() < begin + PATIENCE, "the studio does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._end()

    def _end(self) -> None:
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def link(self) -> str:
        """The link of its owner."""
        return self.links[0]

    def link_by(self, port: int) -> str:
        """The link to it through another port."""
        return self.link.replace(f":{self.port}/", f":{port}/")


class _Slow:
    """Passes the bytes of connections on, each after a delay; two threads a direction."""

    def __init__(self, port: int, seconds: float) -> None:
        self.to, self.seconds = port, seconds
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def close(self) -> None:
        for each in (self.listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _begin(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:  # the studio is down
                near.close()
                continue
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
                self._begin(self._read, source, waiting)
                self._begin(self._write, target, waiting)

    def _read(self, source: socket.socket, waiting: "queue.Queue[tuple[float, bytes]]") -> None:
        data = b"?"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self.seconds, data))

    def _write(self, target: socket.socket, waiting: "queue.Queue[tuple[float, bytes]]") -> None:
        with suppress(OSError):
            while (one := waiting.get())[1]:
                time.sleep(max(0, one[0] - time.monotonic()))
                target.sendall(one[1])
            target.shutdown(socket.SHUT_WR)


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """A port that leads to another one, with a delay each way; it goes on while the other side is down."""
    slow = _Slow(port, seconds)
    try:
        yield slow.listener.getsockname()[1]
    finally:
        slow.close()
