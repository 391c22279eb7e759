"""Ratings of a column: an example of a threshold that some of them reach, outliers, and thresholds beside them all."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.feedback.reading.ratings import Ratings
from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.rankings import Rankings
from thumbtune.feedback.sources.table import Table

STARS = [1, 2, 3, 4, 5] * 58 + [4, 4]  # 292


def of(*numbers: float) -> Ratings:
    ratings = Ratings()
    for number in numbers:
        ratings.add(number)
    return ratings


def test_one_outlier_changes_no_scale() -> None:
    ratings = of(*STARS, 11)
    assert ratings.described() == "292 ratings are 1 to 5, one is 11"
    assert ratings.like_from() == 4
    assert ratings.note(4) == (
        "292 ratings are 1 to 5, one is 11; it is a like: correct it in the source if that is a slip."
    )
    assert of(*STARS).note(4) is None


def test_several_outliers_are_at_most_one_in_a_hundred() -> None:
    assert of(*STARS, 11, 12).described() == "292 ratings are 1 to 5, 2 are 11 to 12"
    assert of(*STARS, 11, 12, 13, 14).described() == "of up to 14"
    assert of(1, 2, 3, 4, 5, 1, 2, 3, 4, 11).described() == "of up to 11", "nine others are too few to tell"


@pytest.mark.parametrize(
    ("like_at", "said"),
    [
        (
            70,
            "--like-at 70 is above every rating (of up to 5), so each is a dislike; give a lower number, as in "
            "--like-at 4.",
        ),
        (
            0.5,
            "--like-at 0.5 is above no rating (of up to 5), so each is a like; give a higher number, as in "
            "--like-at 4.",
        ),
    ],
)
def test_thresholds_beside_all_ratings(like_at: float, said: str) -> None:
    assert of(*STARS).note(like_at) == said


@given(st.lists(st.floats(-1e6, 1e6) | st.integers(0, 12), min_size=1, max_size=80), st.randoms())
def test_the_example_is_reached_in_any_order(numbers: list[float], order: object) -> None:
    """Some rating is a like by the example; if they differ, some is a dislike."""
    example = of(*numbers).like_from()
    assert min(numbers) <= example <= max(numbers)
    assert len({*numbers}) == 1 or example > min(numbers)
    assert of(*reversed(numbers)).like_from() == example


def test_many_values_are_counted_no_further() -> None:
    """A column of measured scores: its ends are known, and no score is an outlier."""
    ratings = of(*(number / 7 for number in range(3000)), 1e9)
    assert ratings.note(1e9) is None
    assert ratings.note(math.inf) is not None
    assert ratings.like_from() < 1000 / 7


def test_a_table_and_rankings_say_it(tmp_path: Path, paint: Callable[..., bytes]) -> None:
    for number, name in enumerate("ab"):
        (tmp_path / f"{name}.png").write_bytes(paint(number))
    (tmp_path / "votes.csv").write_text("file_name,prompt,stars\na.png,a fox,2\nb.png,a fox,5\n")
    table = Table(tmp_path / "votes.csv", Reading(like_at=70))
    assert [row.liked for row in table] == [False, False]
    assert table.described()[-1].startswith("stars: --like-at 70 is above every rating (of up to 5)")
    (tmp_path / "ranked.json").write_text('[{"prompt": "a fox", "images": ["a.png", "b.png"], "ratings": [2, 5]}]')
    rankings = Rankings(tmp_path / "ranked.json", Reading(like_at=70))
    assert [row.liked for row in rankings] == [False, False]
    assert rankings.described()[-1].startswith("ratings: --like-at 70 is above every rating (of up to 5)")
