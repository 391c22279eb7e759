"""What commands print while they work."""

import pytest

from thumbtune.cli import terminal


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (179, "3 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert terminal.duration(seconds) == words


def test_a_log_file_gets_a_line_a_minute_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 25))  # 25 s for each item
    monkeypatch.setattr(terminal, "monotonic", lambda: next(clock))
    assert list(terminal.bar([*range(8)], "Generating")) == [*range(8)]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "     Generating: 3 of 8, about 2 min left",
        "     Generating: 6 of 8, about 50 s left",
    ]


def test_work_without_a_known_length_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(terminal, "monotonic", lambda: next(clock))
    assert list(terminal.bar(iter_of(3), "Importing")) == [0, 1, 2]
    assert capsys.readouterr().err == "     Importing: 1\n     Importing: 2\n"


def iter_of(count: int):
    yield from range(count)
