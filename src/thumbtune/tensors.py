"""Tensors in safetensors files, written whole or not at all."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from thumbtune.files import write_whole


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """Write contiguous CPU copies of `tensors`.

    Raises:
        ThumbtuneError: the disk is full or the folder cannot be written; `path` is as it was before.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}

    def write(partial: Path) -> None:
        try:
            save_file(plain, partial, metadata)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error

    return write_whole(path, write)
