"""Processes that one command starts: what each is told, what people see of them, and how all end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from refusals import refused

from thumbtune import launcher
from thumbtune.cli.processes import without_option
from thumbtune.distributed import LOST

STUB = (sys.executable, "-c")
SAYS = "import os, sys; rank = os.environ['RANK']; print('out', rank); print('err', rank, file=sys.stderr); "


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes run the program that is given in place of the words of a command."""
    monkeypatch.setattr(launcher, "START", STUB)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_each_process_is_told_its_place_and_shares_the_cores(
    started: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(launcher, "_cores", lambda: 8)
    names = "('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'OMP_NUM_THREADS')"
    place = f"open({str(tmp_path)!r} + '/' + os.environ['RANK'], 'w')"
    program = (
        f"import os; {place}.write(' '.join(os.environ[name] for name in {names}) + ' ' + os.environ['MASTER_PORT'])"
    )
    assert launcher.run_in_processes([program], 3) == 0
    told = [(tmp_path / str(rank)).read_text().rsplit(" ", 1) for rank in range(3)]
    assert [what for what, _ in told] == [f"{rank} {rank} 3 3 127.0.0.1 2" for rank in range(3)]
    assert len({port for _, port in told}) == 1


@pytest.mark.parametrize(
    ("ends", "code", "shown"),
    [
        ({}, 0, ""),
        ({0: 2, 1: 2}, 2, ""),  # all refuse a recipe, and one speaks
        ({0: LOST, 1: 1}, 1, "err 1\n"),
        ({0: LOST, 1: 1, 2: LOST}, 1, "err 1\n"),
        ({1: 70}, 70, "err 1\n"),
        ({0: 3}, 3, ""),  # a verdict, which the first process alone tells
        ({0: 130, 1: 130, 2: 130}, 130, ""),
    ],
)
def test_one_exit_code_and_one_voice(
    started: None, capfd: pytest.CaptureFixture[str], ends: dict[int, int], code: int, shown: str
) -> None:
    assert launcher.run_in_processes([f"{SAYS} sys.exit({ends}.get(int(rank), 0))"], 3) == code
    out, err = capfd.readouterr()
    assert out == "out 0\n" and err == "err 0\n" + shown


def test_a_process_that_was_killed_has_the_code_of_a_shell(started: None, capfd: pytest.CaptureFixture[str]) -> None:
    program = f"{SAYS} sys.exit({LOST}) if rank == '0' else os.kill(os.getpid(), 9)"
    assert launcher.run_in_processes([program], 2) == 137


def test_a_process_that_waits_for_one_that_is_gone_is_ended(
    started: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launcher, "PATIENCE_SECONDS", 0.3)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    begun = time.monotonic()
    assert launcher.run_in_processes([f"{SAYS}\nif rank == '1': sys.exit(5)\n{deaf}"], 2) == 5
    assert time.monotonic() - begun < 30


def test_a_signal_reaches_each_process_once(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys, time
def note(number, frame):
    with open({str(tmp_path)!r} + "/" + os.environ["RANK"], "a") as file:
        file.write("asked ")
signal.signal(signal.SIGINT, note)
open({str(tmp_path)!r} + "/ready-" + os.environ["RANK"], "w").close()
time.sleep(3)
sys.exit(130)
"""
    run = (
        f"from thumbtune import launcher; launcher.START = {STUB!r}; exit(launcher.run_in_processes([{program!r}], 2))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    launched = subprocess.Popen([sys.executable, "-c", run], env=environment, process_group=0)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert launched.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(launched.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    assert launched.wait(60) == 130
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["asked ", "asked "]


def test_a_launcher_inside_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with refused("processes-launched-twice"):
        launcher.run_in_processes(["train"], 2)


def test_the_words_of_the_processes_lack_the_option() -> None:
    words = ["train", "r.yaml", "--num-processes", "2", "--set", "train.lr=1e-4", "--num-processes=3", "--resume"]
    assert without_option(words) == ["train", "r.yaml", "--set", "train.lr=1e-4", "--resume"]


def test_a_process_that_cannot_be_started_ends_those_that_were(
    started: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    running: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def one(*words: object, **how: object) -> subprocess.Popen[bytes]:
        if running:
            raise OSError(11, "Resource temporarily unavailable")
        running.append(popen(*words, **how))  # type: ignore[call-overload]
        return running[0]

    monkeypatch.setattr(subprocess, "Popen", one)
    with refused("process-not-started", naming="Process 1"):
        launcher.run_in_processes(["import time; time.sleep(60)"], 2)
    assert running[0].poll() is not None
