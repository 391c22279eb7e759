"""What errors and notes do to every sentence: no password, and one full stop."""

import logging

import pytest

from thumbtune.errors import ThumbtuneError, note

SENTENCES = [
    ("x cannot be read (No such file.); restore it.", "x cannot be read (No such file); restore it."),
    ("x (a, b, ...); name one.", "x (a, b, ...); name one."),
    ("x (see y.), and z.", "x (see y), and z."),
    ("x (y). Then (z.)", "x (y). Then (z.)"),
]


@pytest.mark.parametrize(("sentence", "told"), SENTENCES)
def test_a_sentence_in_brackets_has_no_full_stop_of_its_own(
    sentence: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert str(ThumbtuneError(sentence)) == told
    with caplog.at_level(logging.WARNING, "thumbtune"):
        note(sentence)
    assert [record.getMessage() for record in caplog.records] == [told]
