"""A cache of tensors on disk, so that later runs need not encode again. A key names the input and the model.

Every file carries its own hash. One that is damaged is made again, and nothing that is not finite is stored. Tensors of
float32 whose numbers 16 bits hold exactly, as those of text encoders in bf16, are stored in 16 bits.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from thumbtune.errors import ThumbtuneError, note
from thumbtune.files import DamagedFile, sealed_tensors, sweep, write_tensors

Tensors = dict[str, Tensor]
IN_16_BITS = (torch.bfloat16, torch.float16)


class Cache:
    """A folder of safetensors files, each named by its key and written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the file of a key's tensors, whether or not it exists."""
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def has(self, key: str) -> bool:
        """Return whether the cache has tensors for a key."""
        return self.path(key).exists()

    def put(self, key: str, tensors: Tensors) -> None:
        """Write the tensors of a key, whole or not at all; those of 16 bits come back in float32.

        Raises:
            ThumbtuneError: the disk is full, or the folder cannot be written.
        """
        write_tensors(self.path(key), {name: in_fewest_bits(tensor) for name, tensor in tensors.items()})

    def get(self, key: str) -> Tensors:
        """Return the tensors of a key.

        Raises:
            KeyError: the cache has none.
            ThumbtuneError: the file is damaged; it is removed, and the next `fill` writes it again.
        """
        path = self.path(key)
        try:
            stored = sealed_tensors(path.read_bytes())
        except FileNotFoundError as error:
            raise KeyError(key) from error
        except DamagedFile as error:
            path.unlink(missing_ok=True)
            raise ThumbtuneError(
                f"The cached file {path} was damaged ({error}) and has been removed; run the same command again to "
                "make it anew.",
                code="cache-damaged",
            ) from error
        return {name: tensor.float() if tensor.dtype in IN_16_BITS else tensor for name, tensor in stored.items()}

    def fill(
        self,
        keys: Sequence[str],
        make: Callable[[list[int]], list[Tensors]],
        at_once: int = 16,
        progress: Callable[[list[list[int]]], Iterable[list[int]]] = iter,
    ) -> int:
        """Make the missing and the damaged tensors, `at_once` at a time, by `make(positions in keys)`.

        Tensors with NaN or infinite numbers are not stored.

        Returns:
            The number of keys whose tensors were made.
        """
        sweep(self.folder, "??")
        place = {key: i for i, key in enumerate(keys)}  # a repeated key is made once
        missing = [i for key, i in place.items() if not self._is_sound(key)]
        for chunk in progress([missing[start : start + at_once] for start in range(0, len(missing), at_once)]):
            for i, tensors in zip(chunk, make(chunk), strict=True):
                if is_finite(tensors):
                    self.put(keys[i], tensors)
        return len(missing)

    def _is_sound(self, key: str) -> bool:
        """Return whether the cache has whole and finite tensors for a key; say so if it has damaged ones."""
        try:
            return is_finite(self.get(key))
        except KeyError:
            return False
        except ThumbtuneError:
            note(f"The cached file {self.path(key)} was damaged and is made again.")
            return False


def in_fewest_bits(tensor: Tensor) -> Tensor:
    """Return a tensor of float32 in 16 bits if they hold each of its numbers exactly; any other one as it is.

    >>> in_fewest_bits(torch.tensor([1.5, -0.0])).dtype, in_fewest_bits(torch.tensor([0.1])).dtype
    (torch.bfloat16, torch.float32)
    """
    if tensor.dtype != torch.float32:
        return tensor
    shorter = (tensor.to(dtype) for dtype in IN_16_BITS)
    return next((short for short in shorter if torch.equal(short.float(), tensor)), tensor)


def is_finite(tensors: Tensors) -> bool:
    """Return whether no tensor holds a NaN or an infinite number."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())
