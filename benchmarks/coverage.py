"""How often an interval of 95 % holds the true win-rate: two models simulated again and again.

    python benchmarks/coverage.py --repetitions 4000

An image's score is its prompt's (a normal number, alike for both models), what tuning does to that prompt (normal
around a small gain) and its seed's own: 500 prompts x 5 seeds. The truth is that of a million prompts.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from thumbtune.evaluation.statistics import Interval
from thumbtune.evaluation.win_rates import ESTIMANDS, Draws, Estimand, half_wins, units, win_rate

PROMPTS, SEEDS = 500, 5
GAIN, UNEVEN, NOISE = 0.25, 0.3, 1.0  # of tuning, between prompts, between seeds
TRUTH = 1_000_000  # prompts
KINDS = ("bootstrap", "wilson", "paper")

Scores = NDArray[np.float64]


def scores(rng: np.random.Generator, prompts: int) -> tuple[Scores, Scores]:
    """[prompts, seeds] before and after."""
    prompt, gain = rng.normal(size=(prompts, 1)), rng.normal(GAIN, UNEVEN, (prompts, 1))
    noise = rng.normal(0, NOISE, (2, prompts, SEEDS))
    return prompt + noise[0], prompt + gain + noise[1]


def truth(estimand: Estimand, rng: np.random.Generator) -> float:
    """The win-rate of endlessly many prompts."""
    return float(half_wins(*scores(rng, TRUTH), estimand).mean())


def holds(estimand: Estimand, repetitions: int, resamples: int, seed: int = 0) -> Iterator[dict[str, bool]]:
    """For each repetition, which of the intervals hold the truth."""
    rng = np.random.default_rng(seed)
    true, unit = truth(estimand, rng), units([f"{i}" for i in range(PROMPTS)])
    for repetition in range(repetitions):
        found = win_rate(*scores(rng, PROMPTS), unit, estimand, draws=Draws(repetition, resamples))
        ranges: dict[str, Interval] = {kind: getattr(found, kind) for kind in KINDS}
        yield {kind: one.low <= true <= one.high for kind, one in ranges.items()}


def main() -> None:
    """Parse, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    print("| estimand | true rate | cluster bootstrap | Wilson, n = prompts | the paper's, n = images |")
    print("|---|---|---|---|---|")
    for estimand in ESTIMANDS:
        true = truth(estimand, np.random.default_rng(0))
        found = list(holds(estimand, args.repetitions, args.resamples))
        shares = " | ".join(f"{np.mean([one[kind] for one in found]):.1%}" for kind in KINDS)
        print(f"| {estimand} | {true:.3f} | {shares} |")
    print(f"\n{PROMPTS} prompts x {SEEDS} seeds, {args.repetitions} repetitions, {args.resamples} resamples each.")


if __name__ == "__main__":
    main()
