"""The files of a job, beside the store's other files of the studio; the number of the job names them.

12.log    what the command printed                  12.lock   locked as long as a process of the job lives
12.end    its exit code, written when it ends       12.stop   there once the request to stop was sent
12.root   the folder of the studio that it was asked in
12.start  the byte of the log at which its last start begins
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from thumbtune import locks
from thumbtune.files import write_text

FOLDER = "jobs"
TAIL_BYTES = 65_536  # of a log, for its last sentence
OURS = "thumbtune: "  # how the sentences of a command begin
NOTE = f"{OURS}Note: "
_INDENT = re.compile(r"^ {5}")  # of lines about progress


@dataclass(frozen=True)
class JobFiles:
    """The paths of one job's files."""

    folder: Path
    number: int

    @property
    def log(self) -> Path:
        """What the command printed."""
        return self._file("log")

    @property
    def lock(self) -> Path:
        """The file that the processes of the job hold locked."""
        return self._file("lock")

    @property
    def end(self) -> Path:
        """The exit code."""
        return self._file("end")

    @property
    def stop(self) -> Path:
        """The mark that the request to stop was sent."""
        return self._file("stop")

    @property
    def root(self) -> Path:
        """The folder in which the command runs."""
        return self._file("root")

    @property
    def start(self) -> Path:
        """The byte of the log at which the last start begins."""
        return self._file("start")

    def _file(self, ending: str) -> Path:
        return self.folder / FOLDER / f"{self.number}.{ending}"

    def is_alive(self) -> bool:
        """Return whether a process of the job lives: its lock ends with it, and no other process has it."""
        return bool(locks.is_held(self.lock))

    def processes(self) -> list[int]:
        """Return the job's processes on this machine, the supervisor first; [] while they are not known.

        Ask only while the job is alive: the numbers of ended processes are given to others.
        """
        try:
            return [int(number) for number in json.loads(self.lock.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError):
            return []

    def write_processes(self, *numbers: int) -> None:
        """Note the job's processes in its lock, in place: another file of that name would not be locked."""
        with self.lock.open("r+", encoding="utf-8") as file:
            file.write(json.dumps(numbers) + "\n")
            file.truncate()

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None if the job ended without one, or has not ended."""
        try:
            return int(self.end.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def ended_at(self) -> datetime | None:
        """Return when the job ended, perhaps long before a studio looked; None if it did not say."""
        try:
            return datetime.fromtimestamp(self.end.stat().st_mtime, UTC)
        except OSError:
            return None

    def write_exit_code(self, code: int) -> None:
        """Note how the command ended."""
        write_text(self.end, f"{code}\n", durable=True)

    def create(self, root: Path) -> None:
        """Note the folder of a new job, and remove what one of the same number left before a store was put back."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for file in (self.log, self.end, self.stop, self.lock, self.start):
            file.unlink(missing_ok=True)
        write_text(self.root, f"{root.absolute()}\n")

    def elsewhere(self, root: Path) -> str | None:
        """Return the folder that the job was asked in, if it is another one; None too if it is gone, or not noted."""
        try:
            noted = self.root.read_text(encoding="utf-8").removesuffix("\n")
        except OSError:
            return None
        return noted if noted != str(root.absolute()) and Path(noted).is_dir() else None

    def mark_start(self) -> None:
        """Note that the command is about to start, and where its log begins; hold the lock."""
        write_text(self.start, f"{self.log.stat().st_size if self.log.exists() else 0}\n")
        self.lock.write_text("[]\n", encoding="utf-8")

    def start_byte(self) -> int:
        """Return the byte of the log at which the last start begins: what stands before is of an earlier one."""
        try:
            return int(self.start.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0

    def printed(self) -> Iterator[list[str]]:
        """Return all whole lines that the last start printed, some at a time."""
        return (text.splitlines() for text in texts_of(self.log, self.start_byte()))

    def is_unstarted(self) -> bool:
        """Return whether the lock was taken for a start that never came."""
        try:
            return not self.lock.read_text(encoding="utf-8").strip()
        except OSError:
            return False

    def begin(self) -> None:
        """Remove what an earlier start of the job left, but for its log; hold the lock."""
        self.lock.write_text("")  # the numbers of ended processes
        for file in (self.end, self.stop):
            file.unlink(missing_ok=True)

    def mark_stop(self) -> bool:
        """Return whether this call is the first one that marks the stop: a second Ctrl-C would end at once."""
        try:
            os.close(os.open(self.stop, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True


def read_from(file: Path, offset: int, most: int = 1 << 20) -> tuple[str, int]:
    """Return the whole lines of a file from a byte on, and the byte after them; a line that grows is left for later.

    An offset beyond the end, or in the middle of a line, is of another file: it is read from the start.
    """
    try:
        with file.open("rb") as source:
            begin = offset if _begins_line(source, offset) else 0
            source.seek(begin)
            data = source.read(most)
            if b"\n" not in data:
                data += source.readline()
    except FileNotFoundError:
        return "", 0
    whole = data[: data.rfind(b"\n") + 1]
    return whole.decode("utf-8", "replace"), begin + len(whole)


def texts_of(file: Path, offset: int = 0) -> Iterator[str]:
    """Yield all whole lines of a file from a byte on, some at a time."""
    text, place = read_from(file, offset)
    while text:
        yield text
        text, place = read_from(file, place)


def _begins_line(file: BinaryIO, offset: int) -> bool:
    """Return whether a line begins, or may begin, at this byte of a file."""
    if not 0 < offset <= file.seek(0, os.SEEK_END):
        return False
    file.seek(offset - 1)
    return file.read(1) == b"\n"


def tail(log: Path, first: int = 0) -> list[str]:
    """Return the last lines of a log, from a byte on at most, without a first one that is cut; [] if there is none."""
    try:
        with log.open("rb") as file:
            begin = file.seek(max(first, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[1:] if begin > first else lines


def last_sentence(log: Path, first: int = 0) -> str | None:
    """Return the last sentence of a log from a byte on: of the command if it said one, else its last line.

    None if there is none.

    Notes and lines on progress are left out: they tell nothing of the end.
    """
    lines = tail(log, first)
    told = [line.strip() for line in lines if line.strip() and not line.startswith(NOTE) and not _INDENT.match(line)]
    ours = [line for line in told[-20:] if line.startswith(OURS)]
    chosen = (ours or told)[-1:]
    return chosen[0].removeprefix(OURS) if chosen else None
