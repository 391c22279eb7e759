"""Intervals that say 95 % hold the truth as often as that: simulated duels, and the paper's formula beside ours."""

import numpy as np
import pytest

from benchmarks.coverage import GAIN, NOISE, UNEVEN, covers
from thumbtune.evaluation.win_rates import Draws, units, win_rate

pytestmark = pytest.mark.slow
REPETITIONS = 600  # of which the share that holds has a standard error of 0.9 points at 95 %


@pytest.mark.parametrize(("estimand", "papers"), [("median", (0.55, 0.68)), ("pairwise", (0.90, 0.97))])
def test_intervals_of_500_prompts_hold_the_truth_as_often_as_they_say(
    estimand: str, papers: tuple[float, float]
) -> None:
    found = list(covers(estimand, REPETITIONS, resamples=400))  # type: ignore[arg-type]
    share = {kind: np.mean([one[kind] for one in found]) for kind in found[0]}
    assert 0.925 <= share["bootstrap"] <= 0.975
    assert share["wilson"] >= 0.925
    assert papers[0] <= share["paper"] <= papers[1]


@pytest.mark.parametrize("of_style", [5, 6, 24])
def test_few_prompts_of_a_style_make_no_interval_too_narrow(of_style: int) -> None:
    """24 prompts in styles of a few: the truth is one half, and pairs of images are asked."""
    rng, held = np.random.default_rng(0), []
    unit = units([str(i) for i in range(24)], [str(i // of_style) for i in range(24)])
    for repetition in range(REPETITIONS):
        gain = rng.normal(0, UNEVEN + GAIN, (24, 1))
        before, after = rng.normal(0, NOISE, (2, 24, 4))
        found = win_rate(before, after + gain, unit, "pairwise", draws=Draws(repetition, 400)).bootstrap
        held.append(found.low <= 0.5 <= found.high)
    assert np.mean(held) >= 0.915
