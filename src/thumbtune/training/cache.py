"""A cache of tensors on disk, so that later runs need not encode again. A key names the input and the model.

Tensors lie in `packs`, many keys in one file. The tensors of a key carry their own hash and that of the key. Those that
are damaged are made again, and nothing that is not finite is stored. Tensors of float32 whose numbers 16 bits hold
exactly, as those of text encoders in bf16, are stored in 16 bits.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from thumbtune.errors import ThumbtuneError, note
from thumbtune.files import DamagedFile, sealed_bytes, sealed_tensors, unwritable
from thumbtune.training.packs import Packs, Record, digest_of

Tensors = dict[str, Tensor]
HEADER = 4096  # bytes in which the hash of the key stands
IN_16_BITS = (torch.bfloat16, torch.float16)
CHECKED = 20_000  # keys at most whose tensors are all read before a training; of more, damage is noticed when it comes


class Cache:
    """A folder of tensors, each key's written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packs = Packs(folder)

    def has(self, key: str) -> bool:
        """Return whether the cache has tensors for a key."""
        return self._packs.find(key) is not None

    def digests(self) -> set[str]:
        """Return the hashes of all keys that have tensors."""
        return self._packs.digests()

    def put(self, key: str, tensors: Tensors) -> None:
        """Write the tensors of a key, whole or not at all; those of 16 bits come back in float32.

        Raises:
            ThumbtuneError: the disk is full, or the folder cannot be written.
        """
        self._put({key: tensors})

    def _put(self, made: dict[str, Tensors]) -> None:
        try:
            self._packs.append({key: _bytes_of(key, tensors) for key, tensors in made.items()})
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def get(self, key: str) -> Tensors:
        """Return the tensors of a key.

        Raises:
            KeyError: the cache has none.
            ThumbtuneError: they are damaged; they are removed, and the next `fill` makes them again. Or they cannot be
                removed.
        """
        record = self._packs.find(key)
        if record is None:  # another process may have made them
            self._packs.refresh()
            record = self._packs.find(key)
        if record is None:
            raise KeyError(key)
        try:
            stored = _tensors_of(key, self._packs.read(record))
        except (DamagedFile, OSError) as error:
            self._remove(record)
            raise ThumbtuneError(
                f"{_named(record)} was damaged ({error}) and has been removed; run the same command again to make it "
                "anew.",
                code="cache-damaged",
            ) from error
        return {name: tensor.float() if tensor.dtype in IN_16_BITS else tensor for name, tensor in stored.items()}

    def _remove(self, record: Record) -> None:
        try:
            self._packs.remove(record)
        except OSError as error:
            raise unwritable(record.pack.with_suffix(".index"), error) from error

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
        self._packs.refresh()
        place = {key: i for i, key in enumerate(keys)}  # a repeated key is made once
        is_there = self._is_sound if len(place) <= CHECKED else self.has
        missing = [i for key, i in place.items() if not is_there(key)]
        for chunk in progress([missing[start : start + at_once] for start in range(0, len(missing), at_once)]):
            made = {keys[i]: tensors for i, tensors in zip(chunk, make(chunk), strict=True)}
            self._put({key: tensors for key, tensors in made.items() if is_finite(tensors)})
        return len(missing)

    def _is_sound(self, key: str) -> bool:
        """Return whether the cache has whole and finite tensors for a key; say so if it has damaged ones."""
        record = self._packs.find(key)
        if record is None:
            return False
        try:
            return is_finite(self.get(key))
        except ThumbtuneError:
            note(f"{_named(record)} was damaged and is made again.")
            return False


def _bytes_of(key: str, tensors: Tensors) -> bytes:
    fewest = {name: in_fewest_bits(tensor) for name, tensor in tensors.items()}
    return sealed_bytes(fewest, {"key": digest_of(key).hex()})


def _tensors_of(key: str, data: bytes) -> Tensors:
    """Return the tensors in a record, which must be those of the key: a bit of the index may have turned too."""
    if f'"key":"{digest_of(key).hex()}"'.encode() not in data[:HEADER]:
        raise DamagedFile("it is not what the index names")
    return sealed_tensors(data)


def _named(record: Record) -> str:
    return f"What begins at byte {record.start:,} of the cached file {record.pack}"


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
