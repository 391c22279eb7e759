"""How far a work is: in a terminal and in a log, with items, steps, parts and a work within a work."""

import io
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from thumbtune.cli import progress
from thumbtune.cli.progress import Pace, bar, in_log
from thumbtune.training.progress import Sized, in_images, waiting


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A clock that stands still until a test moves it."""
    now = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "monotonic", lambda: now.now)
    yield now
    assert Pace.under_way == []


@pytest.mark.parametrize(
    ("done", "start", "total", "seconds", "line"),
    [
        (0, 0, 140, 90, "Tuning: 0 of 140, 2 min so far"),
        (35, 0, 140, 70, "Tuning: 35 of 140, 2.0 s each, about 4 min left"),
        (110, 100, 140, 1200, "Tuning: 110 of 140, 2 min each, about 1 h 0 min left"),
        (500, 0, 2000, 20, "Tuning: 500 of 2,000, 25 a second, about 1 min left"),
        (3, 0, -1, 6, "Tuning: 3, 2.0 s each"),
        (0, 0, -1, 6, "Tuning: 0, 6 s so far"),
    ],
)
def test_a_line_has_the_number_the_rate_and_the_time_left(
    done: int, start: int, total: int, seconds: float, line: str
) -> None:
    assert Pace("Tuning", total, 1000.0, done, start).line(1000.0 + seconds) == line


def test_steps_of_a_resumed_training_keep_their_numbers(clock: SimpleNamespace) -> None:
    def steps() -> Iterator[SimpleNamespace]:
        for number in range(101, 104):
            clock.now += 2.0
            yield SimpleNamespace(step=number)

    lines = [
        Pace.under_way[0].line(clock.now) for _ in bar(Sized(steps(), 140, place=lambda step: step.step), "Tuning")
    ]
    assert lines == [f"Tuning: {number} of 140, 2.0 s each, about 1 min left" for number in (101, 102, 103)]


def test_parts_count_for_their_images(clock: SimpleNamespace) -> None:
    lines = []
    for part in bar(in_images([range(16), range(16, 20)]), "Encoding images"):
        lines.append(Pace.under_way[0].line(clock.now))
        clock.now += len(part)
    assert lines == ["Encoding images: 0 of 20, 0 s so far", "Encoding images: 16 of 20, 1.0 s each, about 4 s left"]


def test_a_work_within_a_work_is_told_alone_and_not_timed_as_its_items(clock: SimpleNamespace) -> None:
    names, lines = [], []

    def steps() -> Iterator[int]:
        for _ in bar([1, 2, 3], "Encoding"):
            names.append([pace.what for pace in Pace.under_way])
            clock.now += 100.0
        for step in range(1, 3):
            clock.now += 5.0
            yield step

    for _ in bar(Sized(steps(), 4, place=int), "Tuning"):
        lines.append(Pace.under_way[-1].line(clock.now))
    assert names == [["Tuning", "Encoding"]] * 3
    assert lines == ["Tuning: 1 of 4, 5.0 s each, about 15 s left", "Tuning: 2 of 4, 5.0 s each, about 10 s left"]


def test_a_log_gets_lines_also_while_one_item_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    written = threading.Semaphore(0)

    def echo(line: str, *, err: bool) -> None:
        assert err
        lines.append(line)
        written.release()

    monkeypatch.setattr(progress.typer, "echo", echo)

    def slow() -> Iterator[int]:
        for item in in_log([7], "Encoding", 1, every=0.01):
            for _ in range(3):
                assert written.acquire(timeout=30)
            yield item

    assert list(in_log(slow(), "Tuning", 2, every=0.01)) == [7]
    # the outer work may write before the inner one begins and after it has ended, and never beside it
    assert sum(line.startswith("     Encoding: 0 of 1, ") for line in lines) >= 2
    within = [line.partition(":")[0].strip() for line in lines]
    assert within[within.index("Encoding") : len(within) - within[::-1].index("Encoding")] == [
        "Encoding"
    ] * within.count("Encoding")
    there = len(lines)
    time.sleep(0.1)
    assert len(lines) <= there + 1 and Pace.under_way == []  # nobody writes when all is done


def test_a_work_that_is_given_up_ends_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    items: Any = in_log(range(3), "Importing", 3, every=0.01)
    assert next(items) == 0 and len(Pace.under_way) == 1
    items.close()
    capsys.readouterr()
    time.sleep(0.05)
    assert Pace.under_way == [] and capsys.readouterr().err == ""


def test_a_terminal_shows_number_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr("rich.console.Console", lambda **_: screen)
    for _ in bar([1, 2, 3], "Generating"):
        clock.now += 3.0
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert all(word in shown for word in ("Generating", "2/3", "3.0 s each", "3 s left"))


def test_nothing_is_shown_of_no_items_and_by_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bar([], "Generating") == []
    monkeypatch.setenv("RANK", "1")
    assert bar(["a"], "Generating") == ["a"]


def test_a_single_piece_of_work_is_told_too(clock: SimpleNamespace) -> None:
    def load() -> str:
        clock.now += 90.0
        (pace,) = Pace.under_way
        return pace.line(clock.now)

    assert waiting(bar, "Loading the model", load) == "Loading the model: 0 of 1, 2 min so far"
