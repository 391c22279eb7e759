"""A run survives what happens to it: a second training, turned bits, signals, kills, and a peer that dies."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from thumbtune.cli import train as cli
from thumbtune.runs import monitor, tuning
from thumbtune.training import checkpoint

Call = Callable[..., tuple[int, str, str]]
LORA = ("pytorch_lora_weights.safetensors", "kohya.safetensors")


def log_of(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same bytes and logged the same steps."""
    return log_of(one) == log_of(other) and all(
        (one / "lora" / name).read_bytes() == (other / "lora" / name).read_bytes() for name in LORA
    )


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """(step, act) -> act while the command line trains, once, after the step that it prints."""
    say = cli.say

    def prepare(step: int, act: Callable[[], object]) -> None:
        pending = [act]

        def told(text: str) -> None:
            say(text)
            if f"step {step} " in text and pending:
                pending.pop()()

        monkeypatch.setattr(cli, "say", told)

    return prepare


@pytest.fixture
def settings(shared_settings: list[str]) -> list[str]:
    """The store is only read here, so one does for all."""
    return shared_settings


@pytest.fixture
def whole(trained_at: Callable[[Path], Path], tmp_path: Path) -> Path:
    return trained_at(tmp_path / "whole")


@pytest.fixture
def stopped(whole: Path, tmp_path: Path) -> Path:
    """A run that was killed after its fifth step; its checkpoints are those of 0, 2 and 4."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints" / "step-000006")
    shutil.rmtree(run / "lora")
    log = (run / "steps.jsonl").read_text().splitlines(keepends=True)
    (run / "steps.jsonl").write_text("".join(log[:5]))
    return run


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--resume"]], ids=["first", "resume"])
def test_a_second_training_in_one_folder_is_refused_in_one_sentence(
    call: Call, settings: list[str], at_step: Any, whole: Path, tmp_path: Path, more: list[str]
) -> None:
    run, second = tmp_path / "run", []
    command = [sys.executable, "-m", "thumbtune.cli.app", "train", "--out", str(run), *settings, *more]
    at_step(1, lambda: second.append(subprocess.run(command, capture_output=True, text=True, check=False)))
    code, _, err = call("train", "--out", run, *settings)
    assert code == 0, err
    assert second[0].returncode == 1
    assert second[0].stderr.strip().splitlines()[-1] == (
        f"thumbtune: {run} is being trained by process {os.getpid()}; wait until it ends, or choose another folder "
        "with --out."
    )
    assert same(run, whole) and not (run / ".training.lock").exists()


@pytest.mark.slow
def test_the_lock_of_a_killed_training_is_taken_over(
    call: Call, settings: list[str], stopped: Path, whole: Path
) -> None:
    (stopped / ".training.lock").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))  # nobody holds it
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 0, err
    assert same(stopped, whole)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_request_to_end_saves_and_exits_with_its_code(
    call: Call, settings: list[str], at_step: Any, whole: Path, tmp_path: Path, number: int, expected: int
) -> None:
    run = tmp_path / "run"
    at_step(1, lambda: os.kill(os.getpid(), number))
    code, _, err = call("train", "--out", run, *settings)
    assert code == expected and "a checkpoint was saved" in err
    assert checkpoint.steps_in(run)[-1] == 1
    assert call("train", "--out", run, "--resume", *settings)[0] == 0
    assert same(run, whole)


@pytest.mark.slow
def test_sigusr1_saves_a_checkpoint_and_goes_on(
    call: Call, settings: list[str], at_step: Any, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    at_step(1, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    code, _, err = call("train", "--out", run, *settings, "--set", "train.keep_checkpoints=9")
    assert code == 0 and "A checkpoint of step 1 was saved" in err
    assert checkpoint.steps_in(run) == [0, 1, 2, 4, 6]
    assert same(run, whole)


@pytest.mark.slow
def test_sigusr2_draws_samples_and_changes_no_bit_of_the_result(
    call: Call, settings: list[str], at_step: Any, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    at_step(1, lambda: os.kill(os.getpid(), signal.SIGUSR2))
    code, _, err = call("train", "--out", run, *settings)
    assert code == 0, err
    drawn = sorted(folder.name for folder in (run / "samples").glob("step-*"))
    assert drawn == sorted({*(folder.name for folder in (whole / "samples").glob("step-*")), "step-000002"})
    assert [file.suffix for file in (run / "samples" / "step-000002").iterdir()] != []
    assert same(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (signal.SIGTERM, "Stopped after step 1 of 6; its weights are not finite, so no checkpoint was saved"),
        (signal.SIGINT, "Stopped after step 1 of 6; its weights are not finite, so no checkpoint was saved"),
        (signal.SIGUSR1, "SIGUSR1 asked for a checkpoint of step 1, and its weights are not finite, so none was saved"),
    ],
)
def test_nothing_says_saved_of_weights_that_are_not(
    call: Call,
    settings: list[str],
    at_step: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    sentence: str,
) -> None:
    run, is_finite = tmp_path / "run", monitor.is_finite
    monkeypatch.setattr(monitor, "is_finite", lambda training: training.step != 1 and is_finite(training))
    at_step(1, lambda: os.kill(os.getpid(), number))
    _, _, err = call("train", "--out", run, *settings)
    assert sentence in err and "checkpoint was saved:" not in err.replace("no checkpoint was saved:", "")
    assert "as SIGUSR1 asked" not in err and 1 not in checkpoint.steps_in(run)


def test_only_the_main_process_tells_of_a_saved_checkpoint(caplog: pytest.LogCaptureFixture) -> None:
    for is_main in (True, False, False):
        tuning._tell_saved(SimpleNamespace(is_main_process=is_main), 5, True)
    assert caplog.text.count("A checkpoint of step 5 was saved") == 1


def turn(file: Path, place: float = 0.5) -> None:
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1 << random.Random(str(file)).randrange(8)
    file.write_bytes(data)


def one_of(run: Path, name: str) -> Path:
    return sorted(run.glob(name))[-1]


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_bit_that_turns_in_a_checkpoint_is_named_and_the_one_before_is_taken(
    call: Call, settings: list[str], stopped: Path, whole: Path, name: str, place: float
) -> None:
    damaged = stopped / "checkpoints" / "step-000004"
    turn(damaged / name, place)
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 0, err
    assert f"The checkpoint {damaged} is damaged" in err and (name in err or name == "state.json")
    assert same(stopped, whole)


@pytest.mark.slow
def test_without_a_whole_checkpoint_a_run_starts_again_and_says_so(
    call: Call, settings: list[str], stopped: Path, whole: Path
) -> None:
    for file in stopped.glob("checkpoints/*/weights.safetensors"):
        turn(file)
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 0, err
    assert err.count("is damaged") == 3
    assert same(stopped, whole)


@pytest.mark.slow
def test_a_bit_that_turns_in_the_log_goes_back_before_it(
    call: Call, settings: list[str], stopped: Path, whole: Path
) -> None:
    lines = (stopped / "steps.jsonl").read_bytes().splitlines(keepends=True)
    third = bytearray(lines[2])
    third[third.index(b"loss") + 9] ^= 1  # a digit of the loss
    (stopped / "steps.jsonl").write_bytes(b"".join([*lines[:2], third, *lines[3:]]))
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 0, err
    assert f"{stopped / 'steps.jsonl'} is damaged before step 4" in err
    assert same(stopped, whole)


def other_digit(lines: list[bytes]) -> list[bytes]:
    first = bytearray(lines[0])
    first[first.index(b"loss") + 9] ^= 1
    return [bytes(first), *lines[1:]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        *(other_digit, lambda lines: [b"garbage\n", *lines[1:]], lambda lines: lines[1:], lambda lines: []),
        *(lambda lines: [lines[1], lines[0], *lines[2:]], lambda lines: [b"\0" * 50, *lines]),
    ],
    ids=["digit", "garbage", "line", "empty", "order", "zeros"],
)
def test_a_damaged_log_costs_no_checkpoint(
    call: Call, settings: list[str], stopped: Path, whole: Path, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    log, checkpoints = stopped / "steps.jsonl", stopped / "checkpoints"
    damaged = b"".join(damage(log.read_bytes().splitlines(keepends=True)))
    log.write_bytes(damaged)
    before = {path: path.stat().st_ino for path in checkpoints.iterdir()}
    code, _, err = call("train", "--out", stopped, "--resume", *settings, "--set", "train.keep_checkpoints=9")
    assert code == 0, err
    assert f"{log} is damaged before step 4, and was restored" in err
    assert before.items() <= {path: path.stat().st_ino for path in checkpoints.iterdir()}.items()
    if damaged:
        assert (stopped / "steps.jsonl.damaged").read_bytes() == damaged
    assert same(stopped, whole)


@pytest.mark.slow
def test_a_checkpoint_that_is_damaged_keeps_its_bytes_under_another_name(
    call: Call, settings: list[str], stopped: Path, whole: Path
) -> None:
    newest = stopped / "checkpoints" / "step-000004"
    newest.with_name("step-000004.damaged").mkdir()  # of an earlier time
    turn(newest / "weights.safetensors")
    bytes_of = {file.name: file.read_bytes() for file in newest.iterdir()}
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 0 and "kept as step-000004.damaged-2" in err
    aside = newest.with_name("step-000004.damaged-2")
    assert {file.name: file.read_bytes() for file in aside.iterdir()} == bytes_of
    assert same(stopped, whole)


def test_a_log_that_cannot_be_read_is_named_and_the_checkpoints_of_the_version_before_stay(
    call: Call, settings: list[str], stopped: Path
) -> None:
    (stopped / "SHA256SUMS").unlink()
    for folder in (stopped / "checkpoints").iterdir():
        as_before(folder)
    log = stopped / "steps.jsonl"
    log.write_bytes(b"garbage\n" + log.read_bytes())
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 1 and f"{log} cannot be read (line 1" in err
    assert checkpoint.steps_in(stopped) == [0, 2, 4]


@pytest.mark.parametrize("name", ["likes.parquet", "likes.json", "environment.json", "examples/*/*.png", "SHA256SUMS"])
def test_a_bit_that_turns_in_another_file_is_named(call: Call, settings: list[str], stopped: Path, name: str) -> None:
    file = one_of(stopped, name)
    turn(file)
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 1 and f"{file} has changed since it was written" in err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora/pytorch*", "lora/kohya*", "likes.parquet", "likes.json"])
def test_a_bit_that_turns_in_a_finished_run_is_named_by_what_reads_it(
    call: Call, whole: Path, tmp_path: Path, name: str
) -> None:
    file = one_of(whole, name)
    turn(file, 0.7)
    for command in (
        ("generate", "thing 1", "--run", whole, "--out", tmp_path / "p", "--seeds", 1, "--steps", 1),
        ("evaluate", whole),
        ("report", whole),
    ):
        code, _, err = call(*command)
        assert code == 1 and str(file) in err, command


@pytest.mark.slow
def test_a_list_of_hashes_that_was_deleted_is_made_whole_again(
    call: Call, settings: list[str], stopped: Path, whole: Path
) -> None:
    (stopped / "SHA256SUMS").unlink()
    assert call("train", "--out", stopped, "--resume", *settings)[0] == 0
    assert same(stopped, whole)
    named = [{line[66:] for line in (run / "SHA256SUMS").read_text().splitlines()[:-1]} for run in (stopped, whole)]
    assert named[0] == named[1] and {"likes.parquet", "likes.json", "recipe.yaml"} < named[0]


def as_before(folder: Path) -> dict[str, Any]:
    """Make a checkpoint one of the version before, without a hash, and return its state."""
    state = json.loads((folder / "state.json").read_text())
    for name in ("files", "log", "sha256"):
        del state[name]
    state["version"] = 3
    (folder / "state.json").write_text(json.dumps(state))
    return state


@pytest.mark.slow
def test_a_checkpoint_of_the_version_before_is_read(
    call: Call, settings: list[str], stopped: Path, whole: Path
) -> None:
    (stopped / "SHA256SUMS").unlink()
    for folder in (stopped / "checkpoints").iterdir():
        as_before(folder)
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 0 and "damaged" not in err, err
    assert err.count(f"An earlier Thumbtune trained {stopped} up to step 4") == 1
    assert same(stopped, whole)
    shutil.rmtree(stopped / "lora")
    assert "An earlier Thumbtune" not in call("train", "--out", stopped, "--resume", *settings)[2]


def no_exp_avg(folder: Path) -> None:
    slots = load_file(folder / "optimizer.safetensors")
    save_file({k: v for k, v in slots.items() if not k.endswith("exp_avg")}, folder / "optimizer.safetensors")


def other_shape(folder: Path) -> None:
    slots = load_file(folder / "optimizer.safetensors")
    save_file(
        {k: v.flatten() if k == "1.exp_avg_sq" else v for k, v in slots.items()}, folder / "optimizer.safetensors"
    )


def no_slots(folder: Path) -> None:
    save_file({}, folder / "optimizer.safetensors")


def nan(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / f"{name}.safetensors")
        next(iter(tensors.values())).view(-1)[:1] = float("nan")
        save_file(tensors, folder / f"{name}.safetensors")

    return spoil


def state(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "state.json").write_text(json.dumps(json.loads((folder / "state.json").read_text()) | changes))

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        *(no_exp_avg, other_shape, no_slots, nan("weights"), nan("optimizer")),
        *(state(step=None), state(step=-1), state(step="4"), state(step=True), state(broken=None)),
        *(state(reference_point=5), state(beta={"value": float("nan")}), state(beta=[]), state(scaler={"scale": "x"})),
    ],
)
def test_what_a_checkpoint_without_a_hash_lacks_is_damage_too(
    call: Call, settings: list[str], stopped: Path, whole: Path, damage: Callable[[Path], None]
) -> None:
    newest = stopped / "checkpoints" / "step-000004"
    as_before(newest)
    damage(newest)
    code, _, err = call("train", "--out", stopped, "--resume", *settings)
    assert code == 0, err
    assert f"The checkpoint {newest} is damaged" in err and "Traceback" not in err
    assert same(stopped, whole)


@pytest.mark.slow
def test_what_killed_processes_left_is_swept(call: Call, settings: list[str], stopped: Path, whole: Path) -> None:
    left = [
        stopped / ".likes.json.0123456789abcdef.partial",
        stopped / "examples" / "liked" / ".a.png.0123456789abcdef.partial",
        stopped / "checkpoints" / ".step-000005.partial",
        stopped / "lora" / ".kohya.safetensors.0123456789abcdef.partial",
    ]
    for i, path in enumerate(left):
        if i > 1:
            path.mkdir(parents=True)
            (path / ".tmpAbCdEf").write_bytes(b"half")
        else:
            path.write_bytes(b"half")
    assert call("train", "--out", stopped, "--resume", *settings)[0] == 0
    assert not list(stopped.parent.rglob("*.partial"))
    assert same(stopped, whole)


@pytest.mark.slow
def test_equal_runs_write_equal_files(call: Call, settings: list[str], whole: Path, tmp_path: Path) -> None:
    assert call("train", "--out", tmp_path / "again", *settings)[0] == 0
    assert same(tmp_path / "again", whole)
    for name in ("weights.safetensors", "optimizer.safetensors"):
        one, other = (run / "checkpoints" / "step-000006" / name for run in (whole, tmp_path / "again"))
        assert one.read_bytes() == other.read_bytes()
