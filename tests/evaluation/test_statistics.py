"""Statistics: values by hand and against scipy, properties, and coverage on simulated scores."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.statistics import Interval, accuracy, auc, balanced_accuracy, bootstrap, compare, wilson

Scores = NDArray[np.float64]


@st.composite
def paired_scores(draw: st.DrawFn) -> tuple[Scores, Scores]:
    """Two [prompts, seeds] tables of the same shape, on a coarse grid so that ties occur."""
    shape = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    table = arrays(np.float64, shape, elements=st.integers(-6, 6).map(lambda step: step / 4))
    return draw(table), draw(table)


# --- by hand and against scipy --------------------------------------------------------------------


@pytest.mark.parametrize(("wins", "n"), [(0, 1), (1, 1), (0, 24), (24, 24), (7, 24), (431, 500), (1600, 3200)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_wilson_equals_scipys(wins: int, n: int, confidence: float) -> None:
    expected = binomtest(wins, n).proportion_ci(confidence, method="wilson")
    ours = wilson(float(wins), n, confidence)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand() -> None:
    """5 of 10, z = 1.96: centre 1/2; reach 1.96 sqrt(0.025 + 0.0096) / (1 + 0.3841) = 0.2634."""
    interval = wilson(5.0, 10)
    assert interval.low == pytest.approx(0.2366, abs=1e-4)
    assert interval.high == pytest.approx(0.7634, abs=1e-4)


def test_compare_by_hand() -> None:
    """Differences +1, 0 / +2, +3 / -1, -1: three wins, a tie, two losses; rates 3/4, 1 and 0 per prompt."""
    before = [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]
    after = [[2.0, 1.0], [3.0, 4.0], [1.0, 1.0]]
    got = compare(before, after)
    assert (got.wins, got.ties, got.losses, got.prompts, got.seeds) == (3, 1, 2, 3, 2)
    assert got.win_rate == pytest.approx(3.5 / 6)
    assert got.before_mean == pytest.approx(8 / 6)
    assert got.after_mean == pytest.approx(12 / 6)
    assert got.change == pytest.approx(4 / 6)
    assert got.relative_change == pytest.approx(0.5)
    assert got.win_rate_wilson == wilson(3 * got.win_rate, 3)


def test_a_tie_tolerance_turns_small_wins_into_ties() -> None:
    got = compare([[0.0, 0.0, 0.0]], [[0.05, -0.05, 0.2]], tie=0.1)
    assert (got.wins, got.ties, got.losses) == (1, 2, 0)


def test_seeds_of_a_prompt_are_no_extra_trials() -> None:
    """Repeating each prompt's only score for 100 seeds changes neither interval."""
    generator = np.random.default_rng(0)
    before, after = generator.normal(size=(2, 30, 1))
    once, often = compare(before, after), compare(before.repeat(100, 1), after.repeat(100, 1))
    assert often.win_rate_wilson == once.win_rate_wilson
    assert often.win_rate_bootstrap == once.win_rate_bootstrap


def test_a_fall_of_a_negative_score_reads_as_a_fall() -> None:
    got = compare([[-2.0], [-2.0]], [[-3.0], [-3.0]])
    assert got.relative_change == pytest.approx(-0.5)


def test_no_relative_change_over_a_mean_that_may_be_zero() -> None:
    got = compare([[-1.0], [1.0]], [[1.0], [2.0]])
    assert got.relative_change is None
    assert got.relative_change_interval is None


def test_a_comparison_is_plain_json() -> None:
    got = compare([[1.0, 2.0], [3.0, 4.0]], [[2.0, 2.0], [3.0, 5.0]])
    assert json.loads(json.dumps(asdict(got), allow_nan=False))["win_rate_wilson"].keys() == {"low", "high"}


def test_accuracy_draws_prompts_not_items() -> None:
    """Two prompts of 500 items, one all right and one all wrong: the interval must span everything."""
    correct = np.repeat([1.0, 0.0], 500)
    value, clustered = accuracy(correct, np.repeat(["cat", "dog"], 500))
    assert value == 0.5
    assert clustered == Interval(0.0, 1.0)
    _, separate = accuracy(correct, np.arange(1000))
    assert separate.high - separate.low < 0.07


def test_auc_by_hand() -> None:
    """Likes at 3 and 1 against dislikes at 2 and 1: above 2 of 2, then 0 and a tie: (2 + 0.5) / 4."""
    assert auc([3, 1, 2, 1], [True, True, False, False]) == pytest.approx(2.5 / 4)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).normal(size=40)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


# --- properties -----------------------------------------------------------------------------------


@given(n=st.integers(1, 2000), share=st.floats(0, 1), confidence=st.floats(0.01, 0.999))
def test_wilson_holds_the_rate_within_0_and_1(n: int, share: float, confidence: float) -> None:
    wins = min(share * n, n)
    interval = wilson(wins, n, confidence)
    assert 0 <= interval.low <= wins / n <= interval.high <= 1


@settings(max_examples=40, deadline=None)
@given(paired_scores())
def test_compare_orders_its_numbers_and_mirrors_when_swapped(scores: tuple[Scores, Scores]) -> None:
    before, after = scores
    there, back = compare(before, after), compare(after, before)
    for interval in (there.win_rate_bootstrap, there.win_rate_wilson):
        assert 0 <= interval.low <= there.win_rate <= interval.high <= 1
    assert there.change_interval.low <= there.change <= there.change_interval.high
    assert there.wins + there.ties + there.losses == before.size
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.win_rate == pytest.approx(1 - back.win_rate)
    assert there.change == pytest.approx(-back.change)
    for name in ("win_rate_bootstrap", "win_rate_wilson"):
        assert getattr(there, name).low == pytest.approx(1 - getattr(back, name).high)
    assert there.change_interval.low == pytest.approx(-back.change_interval.high)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)), st.integers(0, 9))
def test_bootstrap_holds_the_mean(values: Scores, seed: int) -> None:
    interval = bootstrap(values, seed, resamples=200)
    assert values.min() - 1e-6 <= interval.low <= values.mean() <= interval.high <= values.max() + 1e-6


@given(arrays(np.float64, 12, elements=st.integers(0, 5).map(float)))
def test_auc_flips_with_the_thumbs(score: Scores) -> None:
    liked = np.arange(12) % 3 == 0
    assert auc(score, liked) == pytest.approx(1 - auc(score, ~liked))


# --- coverage -------------------------------------------------------------------------------------


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """200 experiments of 60 prompts with 4 correlated seeds each.

    after - before ~ N(0.3, 1 + 0.25), so a pair is won with probability Phi(0.3 / sqrt(1.25)).
    """
    generator = np.random.default_rng(0)
    change = 0.3
    rate = norm.cdf(change / np.sqrt(1.25))
    covered = {"change": 0, "bootstrap": 0, "wilson": 0}
    for experiment in range(200):
        served = generator.normal(change, 1, size=(60, 1))  # how well the tuning serves this prompt
        after = served + generator.normal(0, 0.5, size=(60, 4))
        got = compare(np.zeros((60, 4)), after, seed=experiment)
        covered["change"] += got.change_interval.low <= change <= got.change_interval.high
        covered["bootstrap"] += got.win_rate_bootstrap.low <= rate <= got.win_rate_bootstrap.high
        covered["wilson"] += got.win_rate_wilson.low <= rate <= got.win_rate_wilson.high
    assert 0.89 * 200 <= covered["change"] <= 0.99 * 200
    assert 0.89 * 200 <= covered["bootstrap"] <= 0.99 * 200
    assert covered["wilson"] >= 0.92 * 200  # averaged rates vary less than single trials: it errs to the safe side


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(0.0, 0),
        lambda: wilson(3.0, 2),
        lambda: wilson(float("nan"), 2),
        lambda: wilson(1.0, 2, confidence=1.0),
        lambda: bootstrap([], 0),
        lambda: bootstrap([1.0, float("inf")], 0),
        lambda: bootstrap([1.0], 0, resamples=0),
        lambda: compare([[1.0, 2.0]], [[1.0]]),
        lambda: compare([[1.0, 2.0], [1.0]], [[1.0, 2.0], [1.0]]),
        lambda: compare([1.0], [1.0]),
        lambda: compare(np.zeros((0, 4)), np.zeros((0, 4))),
        lambda: compare([[1.0]], [[float("nan")]]),
        lambda: compare([[1.0]], [[1.0]], tie=-1.0),
        lambda: accuracy([], []),
        lambda: accuracy([1, 0], ["cat"]),
        lambda: accuracy([2.0], ["cat"]),
        lambda: balanced_accuracy([1, 0], [True, False], ["cat"]),
        lambda: balanced_accuracy([1, 0], [True], ["cat", "dog"]),
        lambda: balanced_accuracy([1, 0], [True, True], ["cat", "dog"]),
        lambda: auc([1.0, 2.0], [True, True]),
        lambda: auc([1.0, 2.0], [True]),
        lambda: auc([1.0, float("nan")], [True, False]),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_sentence(call: object) -> None:
    with pytest.raises(ThumbtuneError) as refusal:
        call()  # type: ignore[operator]
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
