"""Locks that end with their process: who is at work on a file or a folder, also after a kill.

The lock is the operating system's (flock): it goes with the process, however that ends, and containers that share a
folder see it. On Windows it is a locked byte of the file. Where a file system has neither, the number and the machine
of the owner stand in the file; they can outlive the process, so the error then names the file to delete.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from platform import node
from typing import Any

from thumbtune.errors import ThumbtuneError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

try:
    msvcrt: Any = import_module("msvcrt")
except ImportError:  # not Windows
    msvcrt = None

FAR = 1 << 30  # the place of the byte that is locked on Windows
PROBES = 5  # of a lock that is taken: who only looks whether it is free holds it for a moment


def take(descriptor: int, *, wait: bool = False, shared: bool = False) -> bool | None:
    """Lock an open file or folder; return whether that worked, or None if locks do not exist here.

    Args:
        wait: whether to wait for whoever holds it.
        shared: whether others may hold it too, if they share it.
    """
    if msvcrt is not None:
        return _take_byte(descriptor)
    if fcntl is None:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _take_byte(descriptor: int) -> bool | None:
    """Lock a byte after the end of a file, where nobody reads: on Windows what is locked cannot be read."""
    try:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    except OSError:
        return None
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


@contextmanager
def removable(path: Path) -> Iterator[bool | None]:
    """Yield whether no process holds a file or a folder, and lock it inside the `with` block; None: it cannot be told.

    Whoever makes a file locks it, and looks whether it still has its name: so one that was removed in between is made
    again, and none that is being written is removed.
    """
    if os.name == "nt":  # where what is being written is not locked, since it could not be renamed
        yield None
        return
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    except OSError:
        yield None
        return
    try:
        taken = take(descriptor)
        yield taken and is_same(descriptor, path)
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Return whether a process holds the lock of a file or a folder; None if that cannot be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        taken = take(descriptor)
        return None if taken is None else not taken
    finally:
        os.close(descriptor)


@contextmanager
def held(file: Path, busy: Callable[[str], ThumbtuneError]) -> Iterator[None]:
    """Hold a lock inside the `with` block; its file tells who does, and is removed at the end.

    Args:
        file: the file of the lock; one that a killed process left is taken over.
        busy: who holds the lock -> the error to raise.

    Raises:
        ThumbtuneError: another process holds the lock, or the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _taken(file, busy)
    except OSError as error:
        raise ThumbtuneError(
            f"{file} could not be written ({error.strerror or error}); make room or choose another folder, "
            "then run the same command again.",
            code="file-unwritable",
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # where open files cannot be removed
            file.unlink(missing_ok=True)  # while it is locked: whoever waits for it looks again
        os.close(descriptor)
        if os.name == "nt":
            with suppress(OSError):  # another process has it already
                file.unlink(missing_ok=True)


def _taken(file: Path, busy: Callable[[str], ThumbtuneError]) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            taken, owner = _patiently(descriptor), _owner(file)
            if taken is False:
                raise busy(_named(owner))
            if taken is None and owner is not None and _may_be_at_work(owner):
                raise _perhaps(busy(_named(owner)), file)
            if taken is None or is_same(descriptor, file):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps({"pid": os.getpid(), "host": node()}).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed the file in between


def _patiently(descriptor: int) -> bool | None:
    """Take a lock; look again within a tenth of a second if it is held, since a probe holds it for a moment."""
    taken = take(descriptor)
    for _ in range(PROBES - 1):
        if taken is not False:
            break
        time.sleep(0.02)
        taken = take(descriptor)
    return taken


def refuse_busy(file: Path, busy: Callable[[str], ThumbtuneError]) -> None:
    """Raise the error if another process holds the lock of this file; write nothing.

    Raises:
        ThumbtuneError: another process holds the lock.
    """
    if not file.is_file():
        return
    there, owner = is_held(file), _owner(file)
    if there:
        raise busy(_named(owner))
    if there is None and owner is not None and _may_be_at_work(owner):
        raise _perhaps(busy(_named(owner)), file)


def _perhaps(error: ThumbtuneError, file: Path) -> ThumbtuneError:
    """Return an error with what to do if the owner is gone, where no lock can tell."""
    return type(error)(f"{str(error).rstrip('.')}; if that process has ended, delete {file}.", code=error.code)


def is_same(descriptor: int, file: Path) -> bool:
    """Return whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except OSError:
        return False


def _owner(file: Path) -> dict[str, Any] | None:
    """Return the process and the machine that a lock's file names; None if it names none."""
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        return {"pid": int(owner["pid"]), "host": str(owner["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _named(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return "another process"
    return f"process {owner['pid']}" + ("" if owner["host"] == node() else f" on {owner['host']}")


def _may_be_at_work(owner: dict[str, Any]) -> bool:
    """Return whether the owner may be at work: on another machine it may; here its process tells."""
    if owner["host"] != node() or os.name == "nt":  # where os.kill would end it
        return owner["pid"] != os.getpid()
    return owner["pid"] != os.getpid() and is_running(owner["pid"])


def is_running(process: int) -> bool:
    """Return whether a process of this machine may be running."""
    if os.name == "nt":  # where os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True
