"""Win-rates by hand, by property, and by simulation: an interval of 95 % must hold the truth in 95 of 100 cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation import win_rates as estimands
from thumbtune.evaluation.win_rates import Draws, half_wins, holm, mean_change, more_prompts, resampled, units, win_rate

NAN = float("nan")
FEW = Draws(resamples=50)
tables = st.integers(1, 6).flatmap(
    lambda k: st.lists(st.lists(st.integers(-3, 3), min_size=k, max_size=k), min_size=1, max_size=8)
)


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
        ([[NAN]], [[1.0]], {}, "No prompt has a score on both sides"),
        ([[1.0]], [[1.0]], {"tie": -1.0}, "cannot be below zero"),
    ],
)
def test_what_is_refused(before: object, after: object, options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ThumbtuneError, match=sentence):
        win_rate(before, after, alone(1), **options)  # type: ignore[arg-type]


def test_every_prompt_has_a_style() -> None:
    with pytest.raises(ThumbtuneError, match=r"2 prompts but 1 styles"):
        units(["a", "b"], ["x"])
