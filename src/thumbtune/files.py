"""Write files whole or not at all, tensors among them, and name bytes by their hash."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
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
            "then run the same command again.",
            code="file-unwritable",
        ) from error
    finally:
        with suppress(OSError):  # the folder itself may be missing
            partial.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text whole or not at all."""
    return write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: dict[str, str] | None = None) -> Path:
    """Write contiguous CPU copies of tensors as safetensors, whole or not at all.

    Raises:
        ThumbtuneError: the disk is full or the folder cannot be written; `path` is as it was before.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file  # with torch, which most users of this module never need

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}

    def write(partial: Path) -> None:
        try:
            save_file(plain, partial, metadata)
            sort_metadata(partial)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error

    return write_whole(path, write)


def sort_metadata(file: Path) -> None:
    """Put the metadata of a safetensors file in order: its writer shuffles them, and equal tensors make equal files."""
    with file.open("r+b") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) <= size:
            opened.seek(8)
            opened.write(ordered.ljust(size))


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


def write_png(path: Path, image: Any) -> Path:
    """Write a Pillow image as a PNG, whole or not at all."""
    return write_whole(path, lambda partial: image.save(partial, "PNG"))
