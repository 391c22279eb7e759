"""Write files whole or not at all, tensors among them, and name bytes by their hash.

A tensor file carries the hash of all its other bytes in its own metadata, under `sha256`.
"""

import ctypes
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from thumbtune import locks
from thumbtune.errors import ThumbtuneError

SEAL = "sha256"  # the key of the hash in the metadata of a tensor file
UNSEALED = "0" * 64  # stands in the place of the hash while it is computed
SEALED = re.compile(rb'"sha256":"([0-9a-f]{64})"')  # quotes inside of JSON strings are escaped, so this is a key
MAX_HEADER = 100_000_000  # bytes: the limit of the safetensors format
ATTEMPTS = 100  # of making a file that another process sweeps
FORGOTTEN = 24 * 3600  # seconds after which a partial file is left over, where no lock can tell


class DamagedFile(ValueError):
    """A file's bytes are not those that were written."""


def write_whole(path: Path, write: Callable[[Path], object], *, durable: bool = False) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it into place.

    Args:
        durable: whether the file must survive a power cut from now on; this waits for the disk.

    Raises:
        ThumbtuneError: the disk is full or the folder cannot be written; `path` is as it was before.
    """
    partial = partial_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with working_file(partial):
            write(partial)
            _move(partial, path, durable)
    except OSError as error:
        with suppress(OSError):  # the folder itself may be missing
            partial.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return path


def partial_beside(path: Path) -> Path:
    """Return the name of a file or folder to work in, which `sweep` knows."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


@contextmanager
def working_file(file: Path, mode: int = 0o666) -> Iterator[None]:
    """Make an empty file, locked inside the `with` block: a killed process leaves one that nobody holds."""
    descriptor = _made(file, lambda: os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode))
    if os.name == "nt":  # where an open file cannot be renamed
        os.close(descriptor)
        yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


def _made(path: Path, make: Callable[[], int]) -> int:
    """Make a file or folder and lock it; return its descriptor. One that was swept before it was locked is made again.

    Raises:
        OSError: it exists, or cannot be made.
    """
    for attempt in range(ATTEMPTS):
        try:
            descriptor = make()
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1 or not path.parent.is_dir():
                raise
            continue
        if os.name == "nt" or locks.take(descriptor, wait=True) is None or locks.is_same(descriptor, path):
            return descriptor
        os.close(descriptor)
    raise FileExistsError(f"{path} was removed {ATTEMPTS} times while it was made")


def _move(partial: Path, path: Path, durable: bool) -> None:
    """Rename a finished file into place; if it is to be durable, flush the file before and its folder after."""
    if durable:
        flush(partial)
    os.replace(partial, path)
    if durable:
        flush(path.parent)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; does nothing where a system cannot do that."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir():  # some file systems cannot flush folders
            raise error
    finally:
        os.close(descriptor)


def flush_all(paths: Sequence[Path]) -> None:
    """Wait until many files and their names are on the disk: with one call for their file system, where that exists."""
    if not paths or os.name == "nt":
        return
    descriptor = os.open(paths[0].parent, os.O_RDONLY)
    try:
        if ctypes.CDLL(None).syncfs(descriptor) == 0:
            return
    except AttributeError:  # not on Linux
        pass
    finally:
        os.close(descriptor)
    for path in (*paths, *{path.parent for path in paths}):
        flush(path)


def unwritable(path: Path, error: OSError) -> ThumbtuneError:
    """Return the error for a file that could not be written."""
    return ThumbtuneError(
        f"{path} could not be written ({error.strerror or error}); make room or choose another folder, "
        "then run the same command again.",
        code="file-unwritable",
    )


def sweep(folder: Path, pattern: str = "") -> None:
    """Remove the partial files and folders that killed processes left in a folder, or in its folders `pattern`."""
    for partial in folder.glob(f"{pattern}/.*.partial" if pattern else ".*.partial"):
        remove_left(partial)


def remove_left(partial: Path) -> None:
    """Remove a file or folder that a killed process left; one that a process holds stays."""
    with suppress(OSError), locks.removable(partial) as is_free:
        if is_free or (is_free is None and time.time() - partial.stat().st_mtime > FORGOTTEN):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def write_text(path: Path, text: str, *, durable: bool = False) -> Path:
    """Write UTF-8 text whole or not at all."""
    return write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"), durable=durable)


def write_tensors(
    path: Path, tensors: Mapping[str, Any], metadata: dict[str, str] | None = None, *, durable: bool = False
) -> Path:
    """Write contiguous CPU copies of tensors as safetensors with their hash, whole or not at all.

    Raises:
        ThumbtuneError: the disk is full or the folder cannot be written; `path` is as it was before.
    """
    from safetensors.torch import save_file  # with torch, which most users of this module never need

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return write_sealed(path, lambda file: save_file(plain, file, {**(metadata or {}), SEAL: UNSEALED}), durable)


def write_sealed(path: Path, write: Callable[[Path], object], durable: bool = False) -> Path:
    """Let `write` write a tensor file, put its hash into its metadata, then move it into place.

    It is written in a folder of its own, since safetensors writes to a temporary file beside the one that it is given.

    Raises:
        ThumbtuneError: the disk is full or the folder cannot be written; `path` is as it was before.
    """
    from safetensors import SafetensorError

    partial = partial_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with working_folder(partial):
            file = partial / path.name
            file.touch()
            mode = file.stat().st_mode  # what the user's mask gives; safetensors would leave others no right to read
            write(file)
            seal(file)
            file.chmod(mode)
            _move(file, path, durable)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise unwritable(path, OSError(str(error))) from error
    except OSError as error:
        raise unwritable(path, error) from error
    return path


@contextmanager
def working_folder(folder: Path) -> Iterator[None]:
    """Make a folder, locked inside the `with` block and removed at its end if it is still there."""

    def make() -> int:
        folder.mkdir()
        return os.open(folder, os.O_RDONLY)

    if os.name == "nt":  # where folders cannot be opened
        folder.mkdir()
        descriptor = None
    else:
        descriptor = _made(folder, make)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def seal(file: Path) -> None:
    """Put the metadata of a tensor file in order, and the hash of the file among them: equal tensors make equal files.

    The hash is that of the file with zeros in the place of its digits. Its writer shuffles the metadata.
    """
    with file.open("r+b") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
        metadata = {**header.pop("__metadata__", {}), SEAL: UNSEALED}
        whole = {"__metadata__": dict(sorted(metadata.items())), **header}
        ordered = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) > size:  # the writer left no room for the hash
            rest = opened.read()
            size = -(-len(ordered) // 8) * 8  # tensors begin at multiples of 8 bytes
            opened.seek(8 + size)
            opened.write(rest)
        opened.seek(0)
        opened.write(size.to_bytes(8, "little") + ordered.ljust(size))
    digest, place = _digest(file)
    assert place is not None
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(digest.encode())


def _digest(file: Path) -> tuple[str, int | None]:
    """Return the hash of a tensor file without its own digits, and where these begin; None if it has none.

    Raises:
        DamagedFile: the header cannot be read.
    """
    with file.open("rb") as opened:
        beginning = opened.read(8)
        size = int.from_bytes(beginning, "little")
        if size > MAX_HEADER:
            raise DamagedFile("its header is damaged")
        beginning += opened.read(size)
        found = SEALED.search(beginning)
        if found is not None:
            beginning = beginning[: found.start(1)] + UNSEALED.encode() + beginning[found.end(1) :]
        total = hashlib.sha256(beginning)
        while piece := opened.read(1 << 20):
            total.update(piece)
    return total.hexdigest(), None if found is None else found.start(1)


def check_seal(file: Path) -> bool:
    """Compare a tensor file with its own hash; return whether it has one. Earlier versions wrote none.

    Raises:
        DamagedFile: the bytes are not those that were written.
        OSError: the file cannot be read.
    """
    digest, place = _digest(file)
    if place is None:
        return False
    with file.open("rb") as opened:
        opened.seek(place)
        if opened.read(64) != digest.encode():
            raise DamagedFile("its bytes are not those that were written")
    return True


def sealed_bytes(tensors: Mapping[str, Any], metadata: dict[str, str]) -> bytes:
    """Return the bytes of a tensor file with its hash, as `write_tensors` writes them up to the order of metadata."""
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    data = save(plain, {**metadata, SEAL: UNSEALED})
    found = SEALED.search(data)
    assert found is not None
    return data[: found.start(1)] + hashlib.sha256(data).hexdigest().encode() + data[found.end(1) :]


def sealed_tensors(data: bytes) -> dict[str, Any]:
    """Return the tensors in the bytes of a file that must have a hash.

    Raises:
        DamagedFile: the bytes are not those that were written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    start = data.find(b'"sha256":"', 0, 8 + int.from_bytes(data[:8], "little")) + 10
    total = hashlib.sha256(data[:start])
    total.update(UNSEALED.encode())
    total.update(memoryview(data)[start + 64 :])
    if data[start : start + 64] != total.hexdigest().encode():
        raise DamagedFile("its bytes are not those that were written")
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedFile(str(error)) from error


def refuse_not_finite(tensors: Mapping[str, Any]) -> None:
    """Refuse tensors with NaN or infinite numbers.

    Raises:
        ValueError: there are some.
    """
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinite numbers")


def free_name(path: Path, ending: str) -> Path:
    """Return a free name beside a path: its own with the ending, and with a number too if that is taken."""
    free, number = path.with_name(f"{path.name}{ending}"), 2
    while free.exists():
        free, number = path.with_name(f"{path.name}{ending}-{number}"), number + 1
    return free


def may_write(path: Path) -> bool:
    """Return whether the effective user may write a file, or into a folder."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def is_there(path: Path) -> bool:
    """Return whether a path is a file; a name that is too long is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def sha256(data: bytes) -> str:
    """Return the hash of some bytes, in hexadecimal: the id of an image everywhere."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hash of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_png(path: Path, image: Any, *, texts: Mapping[str, str] | None = None, durable: bool = False) -> Path:
    """Write a Pillow image as a PNG, whole or not at all; `texts` stand in chunks of their names.

    Text beyond ASCII is in the chunk that says UTF-8 (iTXt): bytes of latin-1 may happen to be UTF-8 of other letters.
    """
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for name, text in (texts or {}).items():
        (chunks.add_text if text.isascii() else chunks.add_itxt)(name, text)
    return write_whole(path, lambda partial: image.save(partial, "PNG", pnginfo=chunks), durable=durable)
