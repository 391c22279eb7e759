"""Files are whole or not there, carry their hashes, and are told apart from what killed processes left."""

import json
import multiprocessing
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from safetensors.torch import load_file, save_file

from thumbtune import checksums, files, locks
from thumbtune.errors import ThumbtuneError
from thumbtune.files import DamagedFile, check_seal, sweep, write_sealed, write_tensors, write_text, write_whole

TENSORS = {"b": torch.arange(5.0), "a": torch.ones(2, 3, dtype=torch.float16)}


def test_equal_tensors_make_equal_files_that_other_programs_read(tmp_path: Path) -> None:
    metadata = {name: name * 3 for name in "zyxwv"}
    written = {write_tensors(tmp_path / f"{i}.safetensors", TENSORS, metadata).read_bytes() for i in range(8)}
    assert len(written) == 1
    back = load_file(tmp_path / "0.safetensors")
    assert all(torch.equal(back[name], value) for name, value in TENSORS.items())


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"é": '"sha256":"' + "0" * 64 + '"'}], ids=str)
def test_every_bit_of_a_sealed_file_counts(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    file = write_tensors(tmp_path / "a.safetensors", {"a": torch.tensor([1.0])}, metadata)
    assert check_seal(file)
    data = file.read_bytes()
    silent = []
    for bit in range(8 * len(data)):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        file.write_bytes(turned)
        try:
            if check_seal(file):
                silent.append(bit)
        except DamagedFile:
            pass
    assert not silent


def test_a_file_without_room_for_its_hash_grows_by_it(tmp_path: Path) -> None:
    file = write_sealed(tmp_path / "a.safetensors", lambda path: save_file(TENSORS, path))
    assert check_seal(file)
    assert all(torch.equal(load_file(file)[name], value) for name, value in TENSORS.items())
    save_file(TENSORS, tmp_path / "old.safetensors")
    assert not check_seal(tmp_path / "old.safetensors")  # of an earlier version


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_and_keeps_the_mask_of_its_user(tmp_path: Path, durable: bool) -> None:
    for text in ("one", "two"):
        write_text(tmp_path / "a", text, durable=durable)
        assert (tmp_path / "a").read_text() == text
    plain = tmp_path / "plain"
    plain.touch()
    write_tensors(tmp_path / "t", TENSORS, durable=durable)
    assert {(tmp_path / name).stat().st_mode for name in "at"} == {plain.stat().st_mode}
    assert {path.name for path in tmp_path.iterdir()} == {"a", "t", "plain"}


def _writes_until_killed(path: Path, tensors: bool, ready: Any) -> None:
    def write(partial: Path) -> None:
        partial.write_bytes(b"half")
        ready.set()
        multiprocessing.Event().wait()

    (write_sealed if tensors else write_whole)(path, write)


@pytest.mark.parametrize("tensors", [False, True])
def test_half_written_files_are_swept_once_their_process_is_dead(tmp_path: Path, tensors: bool) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_writes_until_killed, args=(tmp_path / "a", tensors, ready))
    process.start()
    assert ready.wait(60)
    sweep(tmp_path)
    assert len(list(tmp_path.glob(".a.*.partial"))) == 1  # it is being written
    process.kill()
    process.join()
    (tmp_path / ".a.partial.mine").touch()  # not one of ours
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".a.partial.mine"]


def write_as(kind: str, path: Path) -> None:
    if kind == "text":
        write_text(path, "whole")
    elif kind == "tensors":
        write_tensors(path, TENSORS)
    elif kind == "key":
        with files.working_file(partial := path.with_name(".key.partial"), 0o600):
            partial.write_text("key")
            os.replace(partial, path)
    else:
        with files.working_folder(partial := path.with_name(".step.partial")):
            (partial / "a").write_text("a")
            os.replace(partial, path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "tensors", "folder", "key"])
def test_a_writer_and_those_who_sweep_are_in_no_ones_way(tmp_path: Path, kind: str) -> None:
    """Every file is there, though three threads sweep the folder without a pause."""
    ended = threading.Event()

    def sweeps() -> None:
        while not ended.is_set():
            sweep(tmp_path)

    sweepers = [threading.Thread(target=sweeps) for _ in range(3)]
    for each in sweepers:
        each.start()
    try:
        for number in range(300):
            write_as(kind, tmp_path / f"{number}")
    finally:
        ended.set()
        for each in sweepers:
            each.join()
    assert {path.name for path in tmp_path.iterdir()} == {f"{number}" for number in range(300)}


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between making a file and locking it belongs to a sweeper, twice for each kind."""
    take, times = locks.take, []

    def late(descriptor: int, **options: bool) -> bool | None:
        if options.get("wait") and len(times) % 3 < 2:
            monkeypatch.setattr(locks, "take", take)
            sweep(tmp_path)
            monkeypatch.setattr(locks, "take", late)
        times.append(descriptor)
        return take(descriptor, **options)

    monkeypatch.setattr(locks, "take", late)
    with files.working_file(tmp_path / ".a.partial"):
        assert (tmp_path / ".a.partial").exists()
    with files.working_folder(tmp_path / ".b.partial"):
        assert (tmp_path / ".b.partial").is_dir()
    assert len(times) == 6


def _busy(owner: str) -> ThumbtuneError:
    return ThumbtuneError(f"It is held by {owner}.", code="busy")


def _holds(file: Path, ready: Any) -> None:
    with locks.held(file, _busy):
        ready.set()
        multiprocessing.Event().wait()


def test_a_lock_excludes_others_and_goes_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "folder" / ".lock"
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_holds, args=(file, ready))
    process.start()
    assert ready.wait(60)
    for _ in range(2):
        with refused("busy", naming=f"process {process.pid}"), locks.held(file, _busy):
            pass
        with refused("busy", naming=f"process {process.pid}"):
            locks.refuse_busy(file, _busy)
    process.kill()
    process.join()
    assert file.exists()
    locks.refuse_busy(file, _busy)
    with locks.held(file, _busy):
        assert json.loads(file.read_text())["pid"] == os.getpid()
        with refused("busy"), locks.held(file, _busy):  # in the same process too
            pass
    assert not file.exists()


@pytest.mark.parametrize(
    ("owner", "is_busy"),
    [("mine", False), ("dead", False), ("alive", True), ("elsewhere", True), ("", False), ("[]", False)],
)
def test_where_no_lock_exists_the_owner_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, is_busy: bool
) -> None:
    monkeypatch.setattr(locks, "take", lambda descriptor: None)
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    known = {"mine": (os.getpid(), locks.node()), "dead": (ended.pid, locks.node()), "alive": (1, locks.node())}
    known |= {"elsewhere": (1, "another-machine")}
    text = json.dumps(dict(zip(("pid", "host"), known[owner], strict=True))) if owner in known else owner
    (tmp_path / ".lock").write_text(text)
    if is_busy:
        advice = f"if that process has ended, delete {tmp_path / '.lock'}."
        with refused("busy", naming=["process 1", advice]), locks.held(tmp_path / ".lock", _busy):
            pass
        with refused("busy", naming=["process 1", advice]):
            locks.refuse_busy(tmp_path / ".lock", _busy)
        (tmp_path / ".lock").unlink()
        with locks.held(tmp_path / ".lock", _busy):
            pass
    else:
        with locks.held(tmp_path / ".lock", _busy):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


class Windows:
    """Locks of bytes as Windows has them: by open file, and gone when it is closed."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.holders: dict[int, int] = {}  # file -> descriptor

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1) and os.lseek(descriptor, 0, os.SEEK_CUR) == locks.FAR
        file = os.fstat(descriptor).st_ino
        if self.holders.get(file, descriptor) != descriptor:
            raise PermissionError(13, "Permission denied")
        self.holders[file] = descriptor


def test_on_windows_a_byte_is_locked_and_a_stale_file_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, system = tmp_path / ".lock", Windows()
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", system)
    file.write_text(json.dumps({"pid": 1, "host": locks.node()}))  # of a process that ended, or has another number
    with locks.held(file, _busy):
        assert json.loads(file.read_text()) == {"pid": os.getpid(), "host": locks.node()}
        with refused("busy", naming=f"process {os.getpid()}") as caught, locks.held(file, _busy):
            pass
        assert "delete" not in str(caught.value)
    assert not file.exists()


def test_the_list_of_hashes_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/b c", "é"):
        (tmp_path / name).write_text(name)
    checksums.record(tmp_path, ["a", "sub/b c", "é", "missing"])
    done = subprocess.run(["sha256sum", "-c", checksums.SUMS], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == 3 and not done.stderr
    checksums.check(tmp_path)
    (tmp_path / "sub" / "b c").write_text("other")
    with refused("file-changed", naming=tmp_path / "sub" / "b c"):
        checksums.check(tmp_path)
    checksums.check(tmp_path, lambda name: name == "a")
    assert list(checksums.changed(tmp_path)) == [tmp_path / "sub" / "b c"]


def test_every_bit_of_the_list_of_hashes_counts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    checksums.record(tmp_path, ["a"])
    data = (tmp_path / checksums.SUMS).read_bytes()
    for bit in range(8 * len(data)):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        (tmp_path / checksums.SUMS).write_bytes(turned)
        with refused("file-changed"):
            checksums.check(tmp_path)


def test_a_person_who_changed_a_file_deletes_two_lines(tmp_path: Path) -> None:
    for name in ("a", "b", "sub c"):
        (tmp_path / name).write_text(name)
    checksums.record(tmp_path, ["a", "b", "sub c"])
    (tmp_path / "b").write_text("mine")
    sums = tmp_path / checksums.SUMS
    with refused("file-changed", naming=[tmp_path / "b", "line of that file and the last line", sums]):
        checksums.check(tmp_path)
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines[:-1] if not line.endswith("  b\n")))
    checksums.check(tmp_path)
    (tmp_path / "a").write_text("turned")
    with refused("file-changed", naming=tmp_path / "a"):
        checksums.check(tmp_path)
    (tmp_path / "a").write_text("a")
    checksums.record(tmp_path, ["b"])
    assert sums.read_text().count("\n") == 4 and checksums.OWN in sums.read_text()
    sums.write_text(f"{lines[0]}no hash\n")
    with refused("file-changed", naming=sums):
        checksums.check(tmp_path)


def test_a_file_that_is_gone_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    checksums.record(tmp_path, "ab")
    checksums.note_missing(tmp_path)
    assert not caplog.text
    (tmp_path / "b").unlink()
    for _ in range(2):
        checksums.check(tmp_path)
        checksums.note_missing(tmp_path, lambda name: name != "a")
    assert caplog.text.count(f"{tmp_path / 'b'} is missing; restore it") == 1


def test_a_kill_while_files_are_rewritten_leaves_no_hash_of_the_old_ones(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    checksums.record(tmp_path, "ab")
    with pytest.raises(KeyboardInterrupt), checksums.rewriting(tmp_path, ["a"]):
        (tmp_path / "a").write_text("new")
        raise KeyboardInterrupt
    checksums.check(tmp_path)
    with checksums.rewriting(tmp_path, ["a"]):
        (tmp_path / "a").write_text("newer")
    checksums.check(tmp_path)
    (tmp_path / "a").write_text("older")
    with refused("file-changed", naming=tmp_path / "a"):
        checksums.check(tmp_path)


def test_many_files_are_flushed_with_and_without_the_call_of_linux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_text(tmp_path / name, name) for name in "ab"]
    files.flush_all(paths)
    flushed = []
    monkeypatch.setattr(files.ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(files, "flush", flushed.append)
    files.flush_all(paths)
    assert flushed == [*paths, tmp_path]
