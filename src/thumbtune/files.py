"""Write files whole or not at all, and name bytes by their hash."""

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it into place.

    Raises:
        ThumbtuneError: the disk is full or the folder cannot be written; `path` is as it was before.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode  # what the user's mask gives; safetensors would leave others no right to read
        write(partial)
        partial.chmod(mode)
        os.replace(partial, path)
    except OSError as error:
        raise ThumbtuneError(
            f"{path} could not be written ({error.strerror or error}); make room or choose another folder, "
            "then run the same command again."
        ) from error
    finally:
        with suppress(OSError):  # where the folder is none, there is nothing to take away
            partial.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text whole or not at all."""
    return write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def may_write(path: Path) -> bool:
    """Whether this user, the one that the program acts for, may write a file or into a folder."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def is_there(path: Path) -> bool:
    """Whether it is a file; what is too long for a name is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def sha256(data: bytes) -> str:
    """The hash of some bytes, in hexadecimal: how images are named everywhere."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """The hash of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_png(path: Path, image: Any) -> Path:
    """Write a Pillow image as a PNG, whole or not at all."""
    return write_whole(path, lambda partial: image.save(partial, "PNG"))
