"""The cache: what was put comes back exactly, is made once, and damage is noticed."""

from pathlib import Path

import pytest
import torch
from refusals import refused

from thumbtune.training.cache import Cache, Tensors
from thumbtune.training.packs import Packs, Record


def record_of(key: str, folder: Path) -> Record:
    record = Packs(folder).find(key)
    assert record is not None
    return record


def test_tensors_come_back_exactly(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    stored = {"a": torch.randn(3, 4), "b": torch.tensor([1, 2]), "c": torch.randn(2, 3).T, "d": torch.tensor(1.5)}
    cache.put("key", stored)
    back = Cache(tmp_path).get("key")
    assert back.keys() == stored.keys()
    for name, value in stored.items():
        assert back[name].dtype == value.dtype
        assert torch.equal(back[name], value)


def test_a_key_may_be_any_text_and_keys_do_not_meet(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    keys = ["", "a/b", "../up", "prompt: a cat é 猫 " * 100, "a"]
    for i, key in enumerate(keys):
        assert not cache.has(key)
        cache.put(key, {"n": torch.tensor(i)})
    assert [int(cache.get(key)["n"]) for key in keys] == [0, 1, 2, 3, 4]
    assert not (tmp_path.parent / "up").exists()


def test_fill_makes_what_is_missing_in_chunks_and_only_once(tmp_path: Path) -> None:
    cache, asked = Cache(tmp_path), []

    def make(rows: list[int]) -> list[Tensors]:
        asked.append(rows)
        return [{"row": torch.tensor(i)} for i in rows]

    keys = [f"key {i}" for i in range(5)]
    cache.put(keys[1], {"row": torch.tensor(1)})
    assert cache.fill(keys, make, at_once=2) == 4
    assert asked == [[0, 2], [3, 4]]
    assert [int(cache.get(key)["row"]) for key in keys] == [0, 1, 2, 3, 4]
    assert cache.fill(keys, make, at_once=2) == 0
    assert len(asked) == 2


def test_what_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Cache(tmp_path).get("nothing")


@pytest.mark.parametrize("damage", [b"", b"not a tensor", None], ids=["empty", "text", "cut off"])
def test_a_damaged_file_gets_a_sentence_and_is_made_again_the_next_time(tmp_path: Path, damage: bytes | None) -> None:
    cache = Cache(tmp_path)
    cache.put("key", {"a": torch.randn(100)})
    path = record_of("key", tmp_path).pack
    path.write_bytes(path.read_bytes()[:-8] if damage is None else damage)
    with refused("cache-damaged", naming=path):
        cache.get("key")
    assert cache.fill(["key"], lambda rows: [{"a": torch.ones(1)}]) == 1
    assert torch.equal(cache.get("key")["a"], torch.ones(1))


def test_a_disk_that_is_really_full_gets_a_sentence(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache, large = Cache(tmp_path), {"a": torch.zeros(100_000)}
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with refused("file-unwritable", naming=tmp_path):
            cache.put("key", large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not cache.has("key")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_disk_that_becomes_full_keeps_what_was_stored(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache, small = Cache(tmp_path), {"a": torch.ones(3)}
    cache.put("small", small)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with refused("file-unwritable", naming=tmp_path):
            cache.put("large", {"a": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    cache.put("more", small)
    assert all(torch.equal(Cache(tmp_path).get(key)["a"], small["a"]) for key in ("small", "more"))
    assert not Cache(tmp_path).has("large")


def test_a_key_that_comes_twice_is_made_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def make(rows: list[int]) -> list[Tensors]:
        asked.extend(rows)
        return [{"row": torch.tensor(i)} for i in rows]

    assert Cache(tmp_path).fill(["a", "b", "a"], make) == 2
    assert len(asked) == 2


def test_numbers_that_16_bits_hold_take_half_the_bytes_and_come_back_in_float32(tmp_path: Path) -> None:
    numbers = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    odd = torch.tensor([0.0, -0.0, 1e-40, 3e38, -65504.0])
    tensors = {
        "bf16": numbers.bfloat16().float(),
        "fp16": numbers.half().float(),
        "all": numbers,
        "odd": odd.bfloat16().float(),
        "sizes": torch.tensor([1024.0, 0.0]),
        "whole": torch.arange(3),
    }
    cache = Cache(tmp_path)
    for name, tensor in tensors.items():
        cache.put(name, {"text": tensor})
        back = cache.get(name)["text"]
        assert back.dtype == tensor.dtype
        assert torch.equal(back, tensor)
        assert torch.equal(back.signbit(), tensor.signbit())
    bytes_of = {name: record_of(name, tmp_path).length for name in tensors}
    assert bytes_of["all"] - bytes_of["bf16"] == bytes_of["all"] - bytes_of["fp16"] == 2 * 64 * 64


def test_one_number_more_than_16_bits_hold_keeps_all_of_them(tmp_path: Path) -> None:
    tensor = torch.ones(1000)
    tensor[-1] = 1 + 2**-20
    cache = Cache(tmp_path)
    cache.put("key", {"text": tensor})
    assert torch.equal(cache.get("key")["text"], tensor)


def test_a_damaged_folder_that_cannot_be_written_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    cache.put("key", {"a": torch.ones(3)})
    record = record_of("key", tmp_path)
    record.pack.write_bytes(b"")

    def refuse(self: Packs, record: Record) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Packs, "remove", refuse)
    with refused("file-unwritable", naming=record.pack.with_suffix(".index")):
        cache.get("key")
