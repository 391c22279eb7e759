"""Held-out labels of one kind measure no agreement, and a training says so."""

import pytest

from thumbtune.runs.checks import one_kind_note, settings_notes
from thumbtune.runs.recipe import read_recipe


@pytest.mark.parametrize(("held_out", "words"), [([True] * 3, "likes (3)"), ([False], "dislikes (1)")])
def test_labels_of_one_kind_are_told(held_out: list[bool], words: str) -> None:
    note = one_kind_note(held_out)
    assert note is not None and f"All held-out labels are {words}, so no agreement is measured" in note


def test_both_kinds_and_none_are_not() -> None:
    assert one_kind_note([True, False]) is None and one_kind_note([]) is None


@pytest.mark.parametrize("steps", [1, 6, 28])
def test_the_warm_up_and_cool_down_that_are_named_fit(steps: int) -> None:
    (note,) = settings_notes(read_recipe(None, [f"train.steps={steps}", "train.warmup=10", "train.cooldown=20"]))
    named = [word.rstrip(".") for word in note.split() if word.startswith("train.") and "=" in word]
    assert len(named) == 2 and settings_notes(read_recipe(None, [f"train.steps={steps}", *named])) == []
