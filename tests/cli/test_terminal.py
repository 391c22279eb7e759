"""What commands print while they work."""

import pytest
from rich.cells import cell_len

from thumbtune.cli import terminal


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (179, "3 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert terminal.duration(seconds) == words


def test_columns_stay_in_line_behind_wide_letters(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.counts({"ann": "1 like", "李雷": "2 likes", "Bjørn 🦊": 12_345, "o'neil; drop": "none"})
    lines = capsys.readouterr().out.splitlines()
    assert [cell_len(line) for line in lines] == [2 + 12 + 2 + 9] * 4, "2, the widest name, 2, a value of 9"
    assert lines[1] == "  李雷" + " " * 8 + "  " + "  2 likes"
