"""Packs: many records in few files, so that a million images do not need a million files.

    NAME.pack     the records, one after another; it only grows
    NAME.index    48 bytes for each: the SHA-256 of its key, where it begins, and how long it is (0: removed)

Whoever writes has packs of its own, so processes share a folder without a lock; everybody reads all of them. A record
comes into the index after its bytes are in the pack. What a killed writer left, bytes without an entry or a part of an
entry, is never read.
"""

import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

ENTRY = np.dtype([("head", ">u8"), ("rest", "V24"), ("start", ">u8"), ("length", ">u8")])
LENGTH_AT = ENTRY.itemsize - 8  # where an entry tells the length
FROM = np.dtype([("pack", np.uint32), ("entry", np.uint32)])  # the pack of an entry, and its number in the index
PACK_BYTES = 1 << 30  # a pack that has as many takes no more records
MOST_RECENT = 1 << 16  # entries that are not sorted yet


class Record(NamedTuple):
    """Where a record lies: its pack, the number of its entry in the index, where it begins, and how long it is."""

    pack: Path
    entry: int
    start: int
    length: int


class Packs:
    """The packs of a folder. It does not look into records: who reads one must notice damage, and `remove` it.

    Entries that were read of late are in a dictionary, all others in sorted arrays, 64 bytes each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = _new_name()
        self._packs: list[Path] = []  # of the sorted entries
        self._read: dict[str, int] = {}  # how many entries of a pack were read
        self._recent: dict[bytes, Record] = {}
        self._entries = np.empty(0, dtype=ENTRY)  # sorted by their heads
        self._heads = np.empty(0, dtype=np.uint64)  # those of the sorted entries, as numpy searches them fastest
        self._from = np.empty(0, dtype=FROM)
        self.refresh()

    def refresh(self) -> None:
        """Read the entries that were written since, by whomever."""
        for index in sorted(self.folder.glob("*.index")):
            self._read_on(index)

    def _read_on(self, index: Path) -> None:
        """Read the entries that an index has got since."""
        before, now = self._read.get(index.stem, 0), index.stat().st_size // ENTRY.itemsize
        if now <= before:
            return
        self._read[index.stem] = now
        entries, pack = (
            np.fromfile(index, ENTRY, now - before, offset=before * ENTRY.itemsize),
            index.with_suffix(".pack"),
        )
        if len(entries) > MOST_RECENT:
            self._sort_in(entries, [pack] * len(entries), range(before, now))
            return
        for place, entry in enumerate(entries, before):
            if entry["length"]:
                digest = int(entry["head"]).to_bytes(8, "big") + entry["rest"].tobytes()
                self._recent[digest] = Record(pack, place, int(entry["start"]), int(entry["length"]))
        if len(self._recent) > MOST_RECENT:
            recent, self._recent = self._recent, {}
            entries = [_entry(digest, record.start, record.length) for digest, record in recent.items()]
            places = [record.entry for record in recent.values()]
            self._sort_in(np.array(entries, dtype=ENTRY), [record.pack for record in recent.values()], places)

    def _sort_in(self, entries: np.ndarray, packs: Sequence[Path], places: Sequence[int]) -> None:
        self._packs += [pack for pack in dict.fromkeys(packs) if pack not in self._packs]
        numbers = {pack: number for number, pack in enumerate(self._packs)}
        origin = np.empty(len(entries), dtype=FROM)
        origin["pack"], origin["entry"] = [numbers[pack] for pack in packs], places
        together, origins = np.concatenate([self._entries, entries]), np.concatenate([self._from, origin])
        heads = together["head"].astype(np.uint64)
        order = np.argsort(heads, kind="stable")
        self._entries, self._heads, self._from = together[order], heads[order], origins[order]

    def find(self, key: str) -> Record | None:
        """Return where the record of a key lies, of the entries that were read; None if there is none."""
        digest = digest_of(key)
        if digest in self._recent:
            return self._recent[digest]
        head = np.uint64(int.from_bytes(digest[:8], "big"))
        first, stop = (int(np.searchsorted(self._heads, head, side)) for side in ("left", "right"))
        for at in range(first, stop):
            entry, origin = self._entries[at], self._from[at]
            if entry["length"] and entry["rest"].tobytes() == digest[8:]:
                return Record(
                    self._packs[origin["pack"]], int(origin["entry"]), int(entry["start"]), int(entry["length"])
                )
        return None

    def read(self, record: Record) -> bytes:
        """Return the bytes of a record; none if its pack does not reach as far.

        Raises:
            OSError: the pack cannot be read.
        """
        with record.pack.open("rb") as file:
            if record.start + record.length > os.fstat(file.fileno()).st_size:
                return b""
            file.seek(record.start)
            return file.read(record.length)

    def append(self, records: Mapping[str, bytes]) -> None:
        """Write records by their keys, each whole or not at all.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        pack = self.folder / f"{self._own}.pack"
        if pack.exists() and pack.stat().st_size >= PACK_BYTES:
            self._own = _new_name()
            pack = self.folder / f"{self._own}.pack"
        before = pack.stat().st_size if pack.exists() else 0
        try:
            entries = _written(pack, records)
        except OSError:  # what came of a full disk's last record
            if before:
                os.truncate(pack, before)
            else:
                pack.unlink(missing_ok=True)
            raise
        index = pack.with_suffix(".index")
        with index.open("ab") as file:
            file.write(b"\0" * (-file.tell() % ENTRY.itemsize))  # after a part of an entry, which a full disk left
            file.write(np.array(entries, dtype=ENTRY).tobytes())
        self._read_on(index)

    def remove(self, record: Record) -> None:
        """Remove the entry of a record, for this reader and all that come. Its bytes stay in the pack.

        Raises:
            OSError: the index cannot be written.
        """
        self._recent = {digest: one for digest, one in self._recent.items() if one != record}
        if record.pack in self._packs:
            mine = self._from["pack"] == self._packs.index(record.pack)
            self._entries["length"][mine & (self._from["entry"] == record.entry)] = 0
        with record.pack.with_suffix(".index").open("r+b") as file:
            file.seek(record.entry * ENTRY.itemsize + LENGTH_AT)
            file.write(b"\0" * 8)

    def digests(self) -> set[str]:
        """Return the hashes of all keys that have a record, as hexadecimal digits."""
        there = self._entries[self._entries["length"] > 0]
        sorted_in = zip(there["head"], there["rest"], strict=True)
        return {int(head).to_bytes(8, "big").hex() + rest.tobytes().hex() for head, rest in sorted_in} | {
            digest.hex() for digest in self._recent
        }


def _written(pack: Path, records: Mapping[str, bytes]) -> list[tuple[int, bytes, int, int]]:
    """Write records at the end of a pack; return their entries."""
    entries = []
    with pack.open("ab") as file:
        for key, data in records.items():
            entries.append(_entry(digest_of(key), file.tell(), len(data)))
            file.write(data)
    return entries


def _entry(digest: bytes, start: int, length: int) -> tuple[int, bytes, int, int]:
    return int.from_bytes(digest[:8], "big"), digest[8:], start, length


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of a key, by which the index names it."""
    return hashlib.sha256(key.encode()).digest()


def _new_name() -> str:
    return uuid.uuid4().hex
