"""Win-rates by hand, by property, and by simulation: an interval of 95 % must hold the truth in 95 of 100 cases."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import norm

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation import win_rates as estimands
from thumbtune.evaluation.statistics import percentile_interval, wilson
from thumbtune.evaluation.win_rates import (
    Draws,
    half_wins,
    holm,
    mean_change,
    more_prompts,
    resampled,
    units,
    win_rate,
)

NAN = float("nan")
Table = NDArray[np.float64]
FEW = Draws(resamples=50)
tables = st.integers(1, 6).flatmap(
    lambda k: st.lists(st.lists(st.integers(-3, 3), min_size=k, max_size=k), min_size=1, max_size=8)
)


@st.composite
def pairs_of_tables(draw: st.DrawFn) -> tuple[Table, Table]:
    """Two [prompts, seeds] tables of the same shape, on a coarse grid so that ties occur."""
    shape = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    table = arrays(np.float64, shape, elements=st.integers(-6, 6).map(lambda step: step / 4))
    return draw(table), draw(table)


def alone(count: int) -> estimands.Units:
    return units([f"prompt {i}" for i in range(count)])


def test_the_two_questions_by_hand() -> None:
    before = [[1.0, 2.0, 9.0], [1.0, 1.0, 1.0]]
    after = [[2.0, 3.0, 0.0], [1.0, 1.0, 0.0]]
    assert half_wins(before, after, "pairwise").tolist() == [[1, 1, 0], [0.5, 0.5, 0]]
    assert half_wins(before, after, "median").tolist() == [[0.5], [0.5]], "medians 2 and 2, 1 and 1"
    found = win_rate(before, after, alone(2), "pairwise")
    assert (found.wins, found.ties, found.losses, found.prompts) == (2, 2, 2, 2)
    assert found.rate == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_pairs_by_hand() -> None:
    """Differences +1, 0 / +2, +3 / -1, -1: three wins, a tie, two losses; rates 3/4, 1 and 0 per prompt."""
    before = [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]
    after = [[2.0, 1.0], [3.0, 4.0], [1.0, 1.0]]
    found, means = win_rate(before, after, alone(3), "pairwise"), mean_change(before, after, alone(3))
    assert (found.wins, found.ties, found.losses, found.prompts) == (3, 1, 2, 3)
    assert found.rate == pytest.approx(3.5 / 6)
    assert [means[name][0] for name in ("before", "after", "change")] == pytest.approx([8 / 6, 12 / 6, 4 / 6])
    assert found.wilson == wilson(3 * found.rate, 3)


def test_a_tie_tolerance_turns_small_wins_into_ties() -> None:
    found = win_rate([[0.0, 0.0, 0.0]], [[0.05, -0.05, 0.2]], alone(1), "pairwise", tie=0.1)
    assert (found.wins, found.ties, found.losses) == (1, 2, 0)


def test_seeds_of_a_prompt_are_no_extra_trials() -> None:
    """Repeating each prompt's only score for 100 seeds changes neither interval."""
    before, after = np.random.default_rng(0).normal(size=(2, 30, 1))
    once = win_rate(before, after, alone(30), "pairwise")
    often = win_rate(before.repeat(100, 1), after.repeat(100, 1), alone(30), "pairwise")
    assert (often.wilson, often.bootstrap) == (once.wilson, once.bootstrap)


def test_a_win_rate_is_plain_json() -> None:
    found = win_rate([[1.0, 2.0], [3.0, 4.0]], [[2.0, 2.0], [3.0, 5.0]], alone(2))
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["wilson"].keys() == {"low", "high"}


def test_the_same_seed_gives_the_same_interval() -> None:
    before, after = np.zeros((40, 1)), np.random.default_rng(1).normal(size=(40, 1))
    draws = [Draws(seed) for seed in (3, 3, 4)]
    reaches = [mean_change(before, after, alone(40), draws=each)["change"][1] for each in draws]
    assert reaches[0] == reaches[1] != reaches[2]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(pairs_of_tables())
def test_numbers_are_ordered_and_turn_round_with_the_sides(scores: tuple[Table, Table]) -> None:
    before, after = scores
    unit = alone(len(before))
    there, back = (win_rate(*sides, unit, "pairwise") for sides in ((before, after), (after, before)))
    change, other = (mean_change(*sides, unit)["change"] for sides in ((before, after), (after, before)))
    for reach in (there.bootstrap, there.wilson):
        assert 0 <= reach.low <= there.rate <= reach.high <= 1
    assert change[1].low <= change[0] <= change[1].high
    assert there.wins + there.ties + there.losses == before.size
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.rate == pytest.approx(1 - back.rate) and change[0] == pytest.approx(-other[0])
    for name in ("bootstrap", "wilson"):
        assert getattr(there, name).low == pytest.approx(1 - getattr(back, name).high)
    assert change[1].low == pytest.approx(-other[1].high)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)), st.integers(0, 9))
def test_a_bootstrap_holds_the_mean(values: Table, seed: int) -> None:
    draws = resampled(alone(len(values)), values[:, None], Draws(seed, 200))
    reach = percentile_interval(draws[:, 0], float(values.mean()))
    assert values.min() - 1e-6 <= reach.low <= values.mean() <= reach.high <= values.max() + 1e-6


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """200 experiments of 60 prompts with 4 correlated seeds each.

    after - before ~ N(0.3, 1 + 0.25), so a pair is won with probability Phi(0.3 / sqrt(1.25)).
    """
    generator, change = np.random.default_rng(0), 0.3
    rate = norm.cdf(change / np.sqrt(1.25))
    covered = {"change": 0, "bootstrap": 0, "wilson": 0}
    for experiment in range(200):
        of_prompt = generator.normal(change, 1, size=(60, 1))
        before, after = np.zeros((60, 4)), of_prompt + generator.normal(0, 0.5, size=(60, 4))
        found = win_rate(before, after, alone(60), "pairwise", draws=Draws(experiment, 2000))
        reach = mean_change(before, after, alone(60), draws=Draws(experiment, 2000))["change"][1]
        covered["change"] += reach.low <= change <= reach.high
        covered["bootstrap"] += found.bootstrap.low <= rate <= found.bootstrap.high
        covered["wilson"] += found.wilson.low <= rate <= found.wilson.high
    assert 0.89 * 200 <= covered["change"] <= 0.99 * 200
    assert 0.89 * 200 <= covered["bootstrap"] <= 0.99 * 200
    assert covered["wilson"] >= 0.92 * 200  # averaged rates vary less than single trials: it errs to the safe side


def test_five_wins_of_six_prompts() -> None:
    before, after = np.zeros((6, 1)), np.array([[1.0]] * 5 + [[-1.0]])
    found = win_rate(before, after, alone(6), "median")
    assert found.rate == pytest.approx(5 / 6)
    assert found.sign_test == pytest.approx(2 * (1 + 6) / 64)
    assert found.paper.high - found.paper.low == pytest.approx(2 * 1.96 * (5 / 36 / 6) ** 0.5)


def test_the_papers_interval_counts_images() -> None:
    """Table 1: 86.0 % of 500 prompts x 5 images is printed as -+ 1.36."""
    after = np.ones((500, 5))
    after[:70] = -1
    found = win_rate(np.zeros((500, 5)), after, alone(500), "median")
    assert found.rate == pytest.approx(0.86)
    assert (found.paper.high - found.paper.low) / 2 == pytest.approx(0.0136, abs=5e-5)
    assert (found.wilson.high - found.wilson.low) / 2 == pytest.approx(0.030, abs=1e-3)


def test_an_image_without_a_score_takes_its_pair_out() -> None:
    before, after = [[1.0, NAN, 3.0], [NAN, NAN, NAN]], [[2.0, 5.0, 2.0], [1.0, 1.0, 1.0]]
    assert half_wins(before, after, "pairwise")[0].tolist()[::2] == [1, 0]
    found = win_rate(before, after, alone(2), "median")
    assert (found.prompts, found.ties) == (1, 1), "medians of (1, 3) and of (2, 2): without their partners' images"
    assert mean_change(before, after, alone(2))["change"][0] == 0


@given(tables, st.sampled_from(estimands.ESTIMANDS))
@settings(max_examples=60, deadline=None)
def test_who_is_called_before_only_turns_the_rate(table: list[list[int]], estimand: estimands.Estimand) -> None:
    one, other = np.array(table, float), np.array(table, float)[::-1, ::-1]
    there = win_rate(one, other, alone(len(one)), estimand, draws=FEW)
    back = win_rate(other, one, alone(len(one)), estimand, draws=FEW)
    assert there.rate == pytest.approx(1 - back.rate)
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.sign_test == pytest.approx(back.sign_test) and there.more_prompts == back.more_prompts
    assert there.bootstrap.low <= there.rate <= there.bootstrap.high
    with_itself = win_rate(one, one, alone(len(one)), estimand, draws=FEW)
    assert (with_itself.rate, with_itself.sign_test, with_itself.more_prompts) == (0.5, 1.0, None)


def test_equal_prompts_are_one_trial() -> None:
    after = np.array([[1.0], [1.0], [1.0], [-1.0]])
    once = win_rate(np.zeros((4, 1)), after, units(["a", "a", "a", "b"]), "median")
    assert (once.prompts, once.distinct, once.rate) == (4, 2, 0.75)
    assert once.sign_test == 1.0, "one prompt for, one against"
    assert once.bootstrap.low == 0 and once.bootstrap.high == 1
    assert units(["a", "a"], ["photo", "anime"]).count == 2, "in two styles they are two"


def test_styles_are_drawn_from_apart() -> None:
    """One style always wins, the other never does: only the draw between styles could vary, and there is none."""
    values = np.array([[1.0]] * 20 + [[0.0]] * 20)
    names = [f"p{i}" for i in range(40)]
    assert np.unique(resampled(units(names, ["x"] * 20 + ["y"] * 20), values, Draws(resamples=200))).tolist() == [0.5]
    assert len(np.unique(resampled(units(names), values, Draws(resamples=200)))) > 3


@pytest.mark.parametrize("styles", [[f"s{i}" for i in range(24)], [f"s{i // 3}" for i in range(24)]])
def test_styles_of_few_prompts_are_drawn_together(styles: list[str]) -> None:
    """A prompt that is alone in its style would be drawn every time, and every interval would be a point."""
    values = np.random.default_rng(0).normal(size=(24, 1))
    names = [f"p{i}" for i in range(24)]
    draws = Draws(resamples=200)
    assert np.array_equal(resampled(units(names, styles), values, draws), resampled(units(names), values, draws))


def test_a_few_prompts_of_a_style_go_with_the_largest() -> None:
    values = np.array([[1.0]] * 21 + [[0.0]] * 25 + [[1.0]] * 2)
    names = [f"p{i}" for i in range(48)]
    unit = units(names, ["x"] * 21 + ["y"] * 25 + ["z"] * 2)
    drawn = resampled(unit, values, Draws(resamples=300))
    assert len(np.unique(drawn)) > 1
    assert drawn.min() >= 21 / 48


def test_draws_are_shared_by_scorers() -> None:
    values = np.random.default_rng(0).normal(size=(30, 1))
    first, second = (resampled(alone(30), each, Draws(3, 100)) for each in (values, 2 * values))
    np.testing.assert_allclose(second, 2 * first)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_how_many_more_prompts() -> None:
    each = np.array([1.0] * 60 + [0.0] * 40)
    z = norm.ppf(0.975) + norm.ppf(0.8)
    assert more_prompts(each) == int(np.ceil(0.24 * (z / 0.1) ** 2)) - 100
    assert more_prompts([1.0] * 300) == 0 and more_prompts([1.0, 0.0]) is None
    assert (more_prompts([1.0]) or 0) > 1, "one prompt that is won tells nothing yet"


@pytest.mark.slow
def test_so_many_prompts_do_tell() -> None:
    """Of draws of the size that is advised, about 80 in 100 exclude one half."""
    rng = np.random.default_rng(1)
    n = 100 + (more_prompts(np.array([1.0] * 58 + [0.0] * 42)) or 0)
    told = []
    for seed in range(400):
        after = np.where(rng.random((n, 1)) < 0.58, 1.0, -1.0)
        told.append(win_rate(np.zeros((n, 1)), after, alone(n), draws=Draws(seed, 500)).bootstrap.low > 0.5)
    assert 0.74 < np.mean(told) < 0.86


@pytest.mark.parametrize(
    ("before", "after", "options", "sentence"),
    [
        ([[1.0]], [[1.0, 2.0]], {}, "the same prompts and seeds"),
        (np.zeros((0, 2)), np.zeros((0, 2)), {}, "the same prompts and seeds"),
        ([[NAN]], [[1.0]], {}, "No prompt has scores for both models"),
        ([[1.0]], [[1.0]], {"tie": -1.0}, "cannot be below zero"),
    ],
)
def test_what_is_refused(before: object, after: object, options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ThumbtuneError, match=sentence):
        win_rate(before, after, alone(1), **options)  # type: ignore[arg-type]


def test_every_prompt_has_a_style() -> None:
    with pytest.raises(ThumbtuneError, match=r"2 prompts but 1 styles"):
        units(["a", "b"], ["x"])
