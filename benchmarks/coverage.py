"""How often a 95% interval contains the true win-rate, over many simulations of two models.

    python benchmarks/coverage.py --repetitions 4000

An image's score is the sum of a normal number of its prompt (equal for both models), the effect of tuning on that
prompt (normal around a small gain), and noise of its seed: 500 prompts x 5 seeds. The true rate is that of a million
prompts.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from thumbtune.evaluation.statistics import Interval
from thumbtune.evaluation.win_rates import ESTIMANDS, Draws, Estimand, half_wins, units, win_rate

PROMPTS, SEEDS = 500, 5
GAIN, UNEVEN, NOISE = 0.25, 0.3, 1.0  # of tuning, between prompts, between seeds
TRUE_RATE_PROMPTS = 1_000_000
KINDS = ("bootstrap", "wilson", "paper")

Scores = NDArray[np.float64]


def scores(rng: np.random.Generator, prompts: int) -> tuple[Scores, Scores]:
    """Return scores before and after tuning, [prompts, seeds] each."""
    prompt, gain = rng.normal(size=(prompts, 1)), rng.normal(GAIN, UNEVEN, (prompts, 1))
    noise = rng.normal(0, NOISE, (2, prompts, SEEDS))
    return prompt + noise[0], prompt + gain + noise[1]


def true_rate(estimand: Estimand, rng: np.random.Generator) -> float:
    """Return the win-rate over `TRUE_RATE_PROMPTS` prompts."""
    return float(half_wins(*scores(rng, TRUE_RATE_PROMPTS), estimand).mean())


def covers(estimand: Estimand, repetitions: int, resamples: int, seed: int = 0) -> Iterator[dict[str, bool]]:
    """Yield for each repetition which of the intervals contain the true rate."""
    rng = np.random.default_rng(seed)
    true, unit = true_rate(estimand, rng), units([f"{i}" for i in range(PROMPTS)])
    for repetition in range(repetitions):
        rate = win_rate(*scores(rng, PROMPTS), unit, estimand, draws=Draws(repetition, resamples))
        ranges: dict[str, Interval] = {kind: getattr(rate, kind) for kind in KINDS}
        yield {kind: interval.low <= true <= interval.high for kind, interval in ranges.items()}


def main() -> None:
    """Parse, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    print("| estimand | true rate | cluster bootstrap | Wilson, n = prompts | the paper's, n = images |")
    print("|---|---|---|---|---|")
    for estimand in ESTIMANDS:
        true = true_rate(estimand, np.random.default_rng(0))
        covered = list(covers(estimand, args.repetitions, args.resamples))
        shares = " | ".join(f"{np.mean([row[kind] for row in covered]):.1%}" for kind in KINDS)
        print(f"| {estimand} | {true:.3f} | {shares} |")
    print(f"\n{PROMPTS} prompts x {SEEDS} seeds, {args.repetitions} repetitions, {args.resamples} resamples each.")


if __name__ == "__main__":
    main()
