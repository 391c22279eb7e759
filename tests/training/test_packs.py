"""Packs against a dictionary, with several writers, kills and turned bits."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thumbtune.errors import ThumbtuneError
from thumbtune.training import packs
from thumbtune.training.cache import Cache
from thumbtune.training.packs import ENTRY, Packs


def contents(one: Packs, keys: list[str]) -> dict[str, bytes]:
    found = {key: one.find(key) for key in keys}
    return {key: one.read(record) for key, record in found.items() if record}


@pytest.mark.parametrize("most_recent", [0, 3, 1 << 16])
@pytest.mark.parametrize("pack_bytes", [1, 200, 1 << 30])
def test_several_writers_and_readers_hold_what_a_dictionary_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_recent: int, pack_bytes: int
) -> None:
    monkeypatch.setattr(packs, "MOST_RECENT", most_recent)
    monkeypatch.setattr(packs, "PACK_BYTES", pack_bytes)
    rng, told = random.Random(most_recent + pack_bytes), dict[str, bytes]()
    writers, keys = [Packs(tmp_path) for _ in range(3)], [f"key {i}" for i in range(60)]
    for _ in range(40):
        writer = rng.choice(writers)
        writer.refresh()
        new = [key for key in rng.sample(keys, rng.randint(0, 6)) if key not in told]
        records = {key: rng.randbytes(rng.randint(1, 40)) for key in new}
        writer.append(records)
        told |= records
        if told and rng.random() < 0.3:
            gone = rng.choice([*told])
            record = writer.find(gone)
            assert record is not None
            writer.remove(record)
            del told[gone]
            assert writer.find(gone) is None
            for other in writers:  # what a reader had read before, it may still hold
                if (held := other.find(gone)) is not None:
                    other.remove(held)
        assert contents(writer, keys) == told
        assert contents(Packs(tmp_path), keys) == told
        assert writer.digests() == Packs(tmp_path).digests() == {packs.digest_of(key).hex() for key in told}
    for writer in writers:
        writer.refresh()
        assert contents(writer, keys) == told
    files = len([*tmp_path.glob("*.pack")])
    assert files == len([*tmp_path.glob("*.index")])
    assert files <= 3 if pack_bytes == 1 << 30 else files > 3


def test_keys_with_one_beginning_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = packs.digest_of
    monkeypatch.setattr(packs, "digest_of", lambda key: b"\xff" * 8 + digest(key)[8:])
    monkeypatch.setattr(packs, "MOST_RECENT", 0)
    one = Packs(tmp_path)
    one.append({f"key {i}": bytes([i]) for i in range(50)})
    assert contents(one, [f"key {i}" for i in range(51)]) == {f"key {i}": bytes([i]) for i in range(50)}


@pytest.mark.parametrize("cut", [1, 7, 24, 41, 47])
def test_a_writer_that_was_killed_amid_an_entry_leaves_the_others_whole(tmp_path: Path, cut: int) -> None:
    one = Packs(tmp_path)
    one.append({"a": b"first"})
    one.append({"b": b"second"})
    index = next(tmp_path.glob("*.index"))
    data = index.read_bytes()
    assert len(data) == 2 * ENTRY.itemsize
    index.write_bytes(data[: ENTRY.itemsize + cut])  # and the bytes of b are in the pack
    other = Packs(tmp_path)
    assert contents(other, ["a", "b"]) == {"a": b"first"}
    other.append({"b": b"third"})
    assert contents(Packs(tmp_path), ["a", "b"]) == {"a": b"first", "b": b"third"}


@pytest.mark.parametrize("cut", [1, 24, 46])
def test_a_disk_that_was_full_amid_an_entry_leaves_what_comes_after_whole(tmp_path: Path, cut: int) -> None:
    one = Packs(tmp_path)
    one.append({"a": b"first", "b": b"second"})
    index = next(tmp_path.glob("*.index"))
    index.write_bytes(index.read_bytes()[: ENTRY.itemsize + cut])
    one._read[index.stem] = 1  # as the reader of its own pack has it when the disk was full
    one._recent.pop(packs.digest_of("b"))
    one.append({"c": b"third"})
    assert (
        contents(Packs(tmp_path), ["a", "b", "c"]) == contents(one, ["a", "b", "c"]) == {"a": b"first", "c": b"third"}
    )


def test_no_turned_bit_of_pack_or_index_gives_wrong_tensors(tmp_path: Path) -> None:
    kept = {name: {"a": torch.tensor([float(i)])} for i, name in enumerate(["one", "two"])}
    cache = Cache(tmp_path)
    for name, tensors in kept.items():
        cache.put(name, tensors)
    whole = {file: file.read_bytes() for file in tmp_path.glob("*.*")}
    ended = {"equal": 0, "damaged": 0, "not there": 0}
    for changed, data in whole.items():
        bits = range(8 * len(data)) if changed.suffix == ".index" else range(0, 8 * len(data), 9)  # each place in turn
        for bit in bits:
            for file, before in whole.items():  # a damaged record leaves the index
                file.write_bytes(before)
            turned = bytearray(data)
            turned[bit // 8] ^= 1 << bit % 8
            changed.write_bytes(turned)
            ended[_ended(tmp_path, kept)] += 1
    assert ended["equal"] == 0  # a key, a place and a length have no bit to spare
    assert ended["not there"] == 2 * 8 * 32 and ended["damaged"] > 2 * 8 * 16


def _ended(folder: Path, kept: dict[str, dict[str, torch.Tensor]]) -> str:
    """Return how the reading of all keys ended, after what is there was compared."""
    found, ended = Cache(folder), "equal"
    for name, tensors in kept.items():
        try:
            assert torch.equal(found.get(name)["a"], tensors["a"])
        except KeyError:
            ended = "not there"
        except ThumbtuneError as error:
            assert error.code == "cache-damaged"
            assert not found.has(name) and not Cache(folder).has(name)  # so that it is made again
            ended = "damaged"
    return ended


def test_entries_are_sorted_in_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MOST_RECENT", 9)
    sort_in, sorted_in = Packs._sort_in, []

    def counted(self: Packs, entries: np.ndarray, *origins: Any) -> None:
        sorted_in.append(len(entries))
        sort_in(self, entries, *origins)

    monkeypatch.setattr(Packs, "_sort_in", counted)
    one = Packs(tmp_path)
    for i in range(95):
        one.append({f"key {i}": bytes([i])})
    assert sorted_in == [10] * 9
    assert contents(one, [f"key {i}" for i in range(95)]) == {f"key {i}": bytes([i]) for i in range(95)}
