"""What commands print while they work."""

import pytest

from thumbtune.cli import terminal


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (179, "3 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert terminal.duration(seconds) == words
