"""A studio in a process of its own, which can be killed and started again, and a proxy that is as slow as the web."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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
    def link(self) -> str:
        """The link of its owner."""
        return self.links[0]

    def link_by(self, port: int) -> str:
        """The link to it through another port."""
        return self.link.replace(f":{self.port}/", f":{port}/")


class _Slow:
    """Passes the bytes of connections on, each after a delay."""

    def __init__(self, port: int, seconds: float) -> None:
        self.to, self.seconds, self.port = port, seconds, 0
        self.ready, self.stopped = threading.Event(), asyncio.Event()

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.close()
            return
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, to_writer), self._pump(to_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        reading = asyncio.ensure_future(self._read(reader, waiting))
        with suppress(OSError):
            while (one := await waiting.get())[1]:
                await asyncio.sleep(max(0, one[0] - asyncio.get_running_loop().time()))
                writer.write(one[1])
                await writer.drain()
        reading.cancel()
        writer.close()

    async def _read(self, reader: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"?"
        while data:
            try:
                data = await reader.read(1 << 16)
            except OSError:
                data = b""
            await waiting.put((asyncio.get_running_loop().time() + self.seconds, data))


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """A port that leads to another one, with a delay each way; it goes on while the other side is down."""
    slow, loop = _Slow(port, seconds), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(slow.serve(),), daemon=True)
    thread.start()
    slow.ready.wait(PATIENCE)
    try:
        yield slow.port
    finally:
        loop.call_soon_threadsafe(slow.stopped.set)
        thread.join(PATIENCE)
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()
