"""Statistics: values by hand and against scipy, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import binomtest

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.statistics import Interval, accuracy, auc, balanced_accuracy, wilson

Scores = NDArray[np.float64]


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


# --- properties -----------------------------------------------------------------------------------


@given(n=st.integers(1, 2000), share=st.floats(0, 1), confidence=st.floats(0.01, 0.999))
def test_wilson_holds_the_rate_within_0_and_1(n: int, share: float, confidence: float) -> None:
    wins = min(share * n, n)
    interval = wilson(wins, n, confidence)
    assert 0 <= interval.low <= wins / n <= interval.high <= 1


@given(arrays(np.float64, 12, elements=st.integers(0, 5).map(float)))
def test_auc_flips_with_the_thumbs(score: Scores) -> None:
    liked = np.arange(12) % 3 == 0
    assert auc(score, liked) == pytest.approx(1 - auc(score, ~liked))


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(0.0, 0),
        lambda: wilson(3.0, 2),
        lambda: wilson(float("nan"), 2),
        lambda: wilson(1.0, 2, confidence=1.0),
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
