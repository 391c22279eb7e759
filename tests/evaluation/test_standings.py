"""Standings by hand: who wins how often by which scorer, corrected for their number, and what is said of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.standings import ScorePair, careful, sentence, standings

NAN = float("nan")
PROMPTS = ["a", "b", "c", "d"]
STYLES = ["ink", "ink", "oil", "oil"]
ZERO = [[0.0, 0.0]] * 4
TOLD = {
    "some": ScorePair(ZERO, [[1.0, 1.0], [1.0, -1.0], [0.0, 0.0], [NAN, 1.0]]),
    "none": ScorePair([[NAN, 0.0]] * 4, [[1.0, NAN]] * 4),  # no pair is whole
    "all": ScorePair(ZERO, [[3.0, 1.0]] * 4),
    "ink only": ScorePair(ZERO, [[-1.0, -1.0], [-1.0, -1.0], [NAN, NAN], [NAN, NAN]]),
}


def by_place(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = {(row["style"], row["estimand"], row["scorer"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def counts(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["wins"], row["ties"], row["losses"], row["prompts"]


def test_a_row_for_each_scorer_estimand_and_style_in_their_order() -> None:
    places = [(row["style"], row["estimand"], row["scorer"]) for row in standings(TOLD, PROMPTS, STYLES)]
    assert places == [(s, e, name) for s in (None, "ink", "oil") for e in ("median", "pairwise") for name in TOLD]
    assert {row["style"] for row in standings(TOLD, PROMPTS)} == {None}
    assert standings({}, PROMPTS, STYLES) == []


def test_wins_ties_and_means_by_hand() -> None:
    rows = by_place(standings(TOLD, PROMPTS, STYLES))
    median, pairs = rows[None, "median", "some"], rows[None, "pairwise", "some"]
    assert counts(median) == (2, 2, 0, 4) and median["rate"] == 0.75
    assert counts(pairs) == (4, 2, 1, 4) and pairs["rate"] == pytest.approx((1 + 0.5 + 0.5 + 1) / 4)
    for row in (median, pairs):
        assert [row[name]["mean"] for name in ("before", "after", "change")] == [0.0, 0.5, 0.5]
        assert row["change"]["low"] <= 0.5 <= row["change"]["high"]
    assert counts(rows["ink", "median", "some"]) == (1, 1, 0, 2)
    assert counts(rows["oil", "pairwise", "some"]) == (1, 2, 0, 2)
    assert rows["oil", "pairwise", "some"]["after"]["mean"] == 0.5
    assert counts(rows[None, "pairwise", "all"]) == (8, 0, 0, 4)
    assert rows[None, "median", "all"]["after"]["mean"] == 2.0
    assert (rows[None, "median", "some"]["before"]["low"], rows[None, "median", "some"]["before"]["high"]) == (0, 0)


def test_a_scorer_that_failed_has_no_numbers_where_it_failed() -> None:
    rows = by_place(standings(TOLD, PROMPTS, STYLES))
    bare = {"scorer": "none", "estimand": "median", "prompts": 0, "style": "oil", "holm": None}
    assert rows["oil", "median", "none"] == bare
    assert rows["oil", "pairwise", "ink only"]["prompts"] == 0
    assert counts(rows["ink", "median", "ink only"]) == counts(rows[None, "median", "ink only"]) == (0, 0, 2, 2)


def test_holm_is_over_the_scorers_that_have_numbers_within_a_style() -> None:
    """Overall: 2 wins of 2, 4 of 4, 0 of 2. By style: 1 of 1, 2 of 2, and in ink 0 of 2."""
    rows = by_place(standings(TOLD, PROMPTS, STYLES))
    for estimand in ("median", "pairwise"):
        p = [rows[None, estimand, name]["sign_test"] for name in ("some", "all", "ink only")]
        assert p == [0.5, 0.125, 0.5]
        holm = [rows[None, estimand, name]["holm"] for name in ("some", "all", "ink only")]
        assert holm == [1.0, 0.375, 1.0]
        assert rows[None, estimand, "none"]["holm"] is None
        assert [rows["oil", estimand, name]["holm"] for name in ("some", "all")] == [1.0, 1.0]
    alone = by_place(standings({"none": TOLD["none"], "all": TOLD["all"]}, PROMPTS))
    assert alone[None, "median", "all"]["holm"] == 0.125, "one test needs no correction"


def test_equal_prompts_are_one_trial_unless_their_styles_differ() -> None:
    told = {"s": ScorePair([[0.0]] * 4, [[1.0], [1.0], [1.0], [-1.0]])}
    (row, _) = standings(told, ["a", "a", "a", "b"])
    assert (row["rate"], row["prompts"], row["distinct"], row["sign_test"]) == (0.75, 4, 2, 1.0)
    rows = by_place(standings(told, ["a", "a", "a", "b"], ["x", "x", "y", "y"]))
    assert [rows[style, "median", "s"]["distinct"] for style in (None, "x", "y")] == [3, 1, 2]


def test_a_difference_within_the_tolerance_is_a_tie() -> None:
    told = {"s": ScorePair([[0.0]] * 3, [[0.25], [0.5], [-0.5]])}
    assert [counts(row) for row in standings(told, ["a", "b", "c"], tie=0.25)] == [(1, 1, 1, 3)] * 2
    assert [counts(row) for row in standings(told, ["a", "b", "c"], tie=0.5)] == [(0, 3, 0, 3)] * 2
    with pytest.raises(ThumbtuneError, match="tie tolerance"):
        standings(told, ["a", "b", "c"], tie=-1.0)


def test_a_style_alone_says_what_it_says_among_others() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 12, 3)).tolist()
    prompts, styles = [f"p{i}" for i in range(12)], ["x", "y", "y"] * 4
    among = [row for row in standings({"s": ScorePair(before, after)}, prompts, styles) if row["style"] == "y"]
    some = [i for i in range(12) if styles[i] == "y"]
    told = {"s": ScorePair([before[i] for i in some], [after[i] for i in some])}
    alone = standings(told, [prompts[i] for i in some], ["y"] * 8)
    assert among == [row for row in alone if row["style"] == "y"] and len(among) == 2


# --- in words

Reach = tuple[float, float]
INTERVALS = ("bootstrap", "wilson")
SAME = "both are equally good"


def row_of(bootstrap: Reach, wilson: Reach | None = None, **other: Any) -> dict[str, Any]:
    rate = sum(bootstrap) / 2
    pairs = zip(INTERVALS, (bootstrap, wilson or bootstrap), strict=True)
    reaches = {name: {"low": low, "high": high} for name, (low, high) in pairs}
    row = {"scorer": "red", "estimand": "median", "prompts": 40, "distinct": 40, "rate": rate}
    row |= {"more_prompts": 12, "holm": 0.01}
    return row | reaches | other


BETTER, WORSE, EQUAL = (f", so {who} by this scorer." for who in ("new is better", "old is better", SAME))
MORE = ": not enough evidence; about 12 more prompts would decide."


@pytest.mark.parametrize(
    ("row", "numbers", "end"),
    [
        (row_of((0.6, 0.8)), (70, 60, 80), BETTER),
        (row_of((0.6, 0.8), (0.55, 0.75)), (70, 55, 80), BETTER),
        (row_of((0.6, 0.8), holm=0.06), (70, 60, 80), MORE),  # of several scorers one wins by chance
        (row_of((0.6, 0.8), (0.49, 0.9)), (70, 49, 90), MORE),
        (row_of((0.1, 0.4)), (25, 10, 40), WORSE),
        (row_of((0.46, 0.54)), (50, 46, 54), EQUAL),
        (row_of((0.45, 0.55)), (50, 45, 55), EQUAL),
        (row_of((0.44, 0.54)), (49, 44, 54), MORE),
        (row_of((0.5, 0.7)), (60, 50, 70), MORE),
        (row_of((0.3, 0.5)), (40, 30, 50), MORE),
        (row_of((0.3, 0.7), distinct=10), (50, 30, 70), MORE),
        (row_of((0.3, 0.7), distinct=9), (50, 30, 70), ": not enough evidence from 9 prompts."),
        (row_of((0.3, 0.7), more_prompts=None), (50, 30, 70), ": not enough evidence; the models are close."),
        (row_of((0.3, 0.7), more_prompts=0), (50, 30, 70), ": not enough evidence."),
    ],
)
def test_a_row_says_who_is_better_or_what_would_tell(row: dict[str, Any], numbers: tuple[int, ...], end: str) -> None:
    rate, low, high = numbers
    said = f"red: new's median image scores higher than old's in {rate}.0% of prompts"
    assert sentence(row, "old", "new") == f"{said} (95% interval {low}.0% to {high}.0%){end}"


def test_of_pairs_the_bootstrap_speaks_alone_unless_it_has_nothing_to_draw() -> None:
    pairs = row_of((0.6, 0.8), (0.4, 0.9), estimand="pairwise")
    assert careful(pairs) == (0.6, 0.8)
    assert sentence(pairs, "old", "new").startswith("red: new's image scores higher than old's in 70.0% of pairs (95%")
    assert careful(row_of((1.0, 1.0), (0.57, 1.0), estimand="pairwise")) == (0.57, 1.0)
    assert careful(row_of((0.6, 0.8), (0.4, 0.7))) == (0.4, 0.8)


def test_where_nothing_was_scored_a_row_says_so() -> None:
    (row, _) = standings({"none": TOLD["none"]}, PROMPTS)
    assert sentence(row, "old", "new") == "none has no scores for both models."


@pytest.mark.parametrize(
    ("wins", "losses", "end"),
    [
        (40, 0, "so new is better by this scorer."),
        (2, 38, "so old is better by this scorer."),
        (6, 0, "so new is better by this scorer."),
        (5, 0, "not enough evidence from 5 prompts."),  # p = 0.06
        (3, 0, "not enough evidence from 3 prompts."),  # all of three: Wilson's interval goes down to 44 %
        (400, 400, "so both are equally good by this scorer."),
        (150, 150, "not enough evidence; the models are close."),
    ],
)
def test_what_is_said_of_real_counts(wins: int, losses: int, end: str) -> None:
    after = [[1.0]] * wins + [[-1.0]] * losses
    prompts = [f"p{i}" for i in range(wins + losses)]
    (median, _) = standings({"red": ScorePair([[0.0]] * len(after), after)}, prompts)
    assert sentence(median, "old", "new").endswith(end)


@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=2), min_size=1, max_size=14))
@settings(max_examples=15, deadline=None)
def test_whoever_comes_first_the_same_one_is_better(after: list[list[float]]) -> None:
    prompts, before = [f"p{i}" for i in range(len(after))], [[0.0, 0.0]] * len(after)
    there = standings({"red": ScorePair(before, after)}, prompts)
    back = standings({"red": ScorePair(after, before)}, prompts)
    for one, other in zip(there, back, strict=True):
        ends = [sentence(row, *names).partition("%)")[2] for row, names in ((one, "AB"), (other, "BA"))]
        assert ends[0] == ends[1]
        assert careful(one) == pytest.approx([1 - value for value in careful(other)[::-1]])


def test_pairs_of_two_prompts_show_nothing_however_clear_they_look() -> None:
    rows = standings({"red": ScorePair([[0.0] * 4] * 2, [[1.0] * 4, [1.0, 1.0, 1.0, -1.0]])}, ["a", "b"])
    pairs = next(row for row in rows if row["estimand"] == "pairwise")
    assert pairs["bootstrap"]["low"] > 0.5
    assert careful(pairs)[0] < 0.5
    assert sentence(pairs, "old", "new").endswith("not enough evidence from 2 prompts.")
    (one,) = (r for r in standings({"red": ScorePair([[0.0]], [[1.0]])}, ["a"]) if r["estimand"] == "median")
    assert sentence(one, "old", "new").endswith("from 1 prompt.")
