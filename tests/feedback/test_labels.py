"""What a label says: words, thumbs, numbers by what their whole column holds, and ratings from a number up."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.feedback.reading.labels import MAX_LABEL_LENGTH, NO, YES, Scale, mapping_of, number_of, stars_of, word_of


def of(*column: object, like_at: float | None = None) -> list[bool | None]:
    """What each cell of a column says."""
    scale = Scale(like_at)
    for cell in column:
        scale.add(cell)
    return [scale.liked(cell) for cell in column]


def test_numbers() -> None:
    numbers = {
        4: 4.0,
        "4": 4.0,
        " 4,5 ": 4.5,
        "4.": 4.0,
        ".5": 0.5,
        "-1": -1.0,
        "+1": 1.0,
        "1e2": 100.0,
        Decimal("0.25"): 0.25,
        True: 1.0,
        "1,000,000": None,
        "1_0": None,
        "٣": None,
        "inf": None,
        "1e999": None,
        "NaN": None,
        "": None,
        "0x1": None,
        10**400: None,
        float("inf"): None,
        Decimal("NaN"): None,
        "4" * (MAX_LABEL_LENGTH + 1): None,
        b"4": None,
        None: None,
    }
    assert {cell: number_of(cell) for cell in numbers if cell is not True} == {
        cell: number for cell, number in numbers.items() if cell is not True
    }


def test_ratings_that_are_written_as_ratings() -> None:
    assert [stars_of(cell) for cell in ("4/5", " 3,5 / 5", "0/10", "★★★☆☆", "⭐⭐", "🌟", "★", "⭐\ufe0f⭐\ufe0f")] == [
        *(4.0, 3.5, 0.0, 3.0, 2.0, 1.0, 1.0, 2.0)
    ]
    for cell in ("☆☆", "4/five", "4//5", "1/2/2025", "★ good", 4, None, "★" * 61, "/5", "a/5"):
        assert stars_of(cell) is None, cell


@pytest.mark.parametrize("word", sorted(YES | NO))
def test_words(word: str) -> None:
    """In either case, and none is both."""
    assert word_of(word) is word_of(f" {word.upper()}\n") is (word in YES)
    assert (word in YES) != (word in NO)


def test_thumbs() -> None:
    likes = ("👍", "👍🏽", "👍\ufe0f", "thumbs up", "Thumbs_Up", "thumb-up", "thumbsup")
    dislikes = ("👎", "👎🏿", "thumbs down", "THUMB DOWN")
    assert [word_of(cell) for cell in likes + dislikes] == [True] * len(likes) + [False] * len(dislikes)
    for cell in ("", "maybe", "thumbs", "👍👎", "up down", 1, None, b"yes", "x" * 61):
        assert word_of(cell) is None, cell


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ((True, False, None), [True, False, None]),
        ((1, 0, 1), [True, False, True]),
        (("1", "0", "1.0", "0,0"), [True, False, True, False]),
        ((1, -1), [True, False]),
        ((1, 0, -1), [True, None, False]),
        (("+1", "-1", "0"), [True, False, None]),
        (("like", "dislike", 1, 0), [True, False, True, False]),
        ((1, 0, 3), [None, None, None]),
        ((0.0, 0.5, 1.0), [None, None, None]),
        (("1/5", "0", "1"), [None, None, None]),
        (("★", "yes"), [None, True]),
        ((True, 3), [True, None]),
        (("", "maybe", [1], {"a": 1}), [None, None, None, None]),
    ],
)
def test_what_a_column_says(column: tuple[object, ...], said: list[bool | None]) -> None:
    assert of(*column) == said


@pytest.mark.parametrize(
    ("like_at", "column", "said"),
    [
        (4, (1, 3, 3.99, "4", 5, "4,5"), [False, False, False, True, True, True]),
        (4, ("★★★★☆", "3/5", "★★★"), [True, False, False]),
        (0.5, (0, 1, 0.5), [False, True, True]),
        (0, (-1, 0, 1), [False, True, True]),
        (-3.5, (-3.5, -4), [True, False]),
        (4, ("yes", False, "", None), [True, False, None, None]),
    ],
)
def test_likes_from_a_number_up(like_at: float, column: tuple[object, ...], said: list[bool | None]) -> None:
    assert of(*column, like_at=like_at) == said


@given(st.lists(st.one_of(st.sampled_from([0, 1, -1, 0.5, 4, "★★", "yes", True, None, "?"]), st.floats()), max_size=6))
def test_a_column_says_the_same_in_any_order(column: list[object]) -> None:
    forth, back = of(*column), of(*reversed(column))
    assert forth == back[::-1]


def why(*column: object, like_at: float | None = None) -> str | None:
    """What is said of the first cell."""
    scale = Scale(like_at)
    for cell in column:
        scale.add(cell)
    return scale.problem_of("stars", column[0])


@pytest.mark.parametrize(
    ("column", "greatest", "advice"),
    [
        ((0.25, 0.5), "0.5", "0.5"),
        ((1, 2, 5), "5", "4"),
        (("★★☆", "★"), "2", "2"),
        ((7, 10), "10", "10"),
        ((3, 95.5), "95.5", "70"),
        ((-4, -2), "-2", "-2"),
        ((1, 1, 1, 2), "2", "2"),
        ((3, 3), "3", "3"),
        ((3, 11), "11", "11"),
    ],
)
def test_why_a_rating_is_no_thumb(column: tuple[object, ...], greatest: str, advice: str) -> None:
    assert why(*column) == (
        f"its stars {column[0]!r} looks like a rating (of up to {greatest}), not a label; "
        f"give the lowest rating that is a like, as in --like-at {advice}"
    )


def test_a_word_for_neither_is_to_be_skipped() -> None:
    assert [mapping_of(word) for word in ("Meh", "OK", "so-so", "lovely")] == [
        *("'Meh=skip'", "'OK=skip'", "'so-so=skip'", "'lovely=like'")
    ]
    assert mapping_of("meh", "dislike") == "'meh=skip'"


def test_why_nothing_is_said_of_other_cells() -> None:
    assert why(0, -1) == "its stars 0 is no label, since other rows contain -1; write 1 or -1, or remove it"
    assert why("maybe so", 1) == (
        "its stars 'maybe so' is neither like nor dislike; give its meaning, as in --map-label 'maybe so=like', or "
        "name another column, as in --map label=opinion"
    )
    assert why("x" * 500) == why("x" * 499), "what is long is cut"
    assert why("yes", 1) is why(None, 4) is why(True, 4) is why(3, 5, like_at=4) is None
