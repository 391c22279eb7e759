"""The standings of a duel: win-rate and change of the mean for each scorer, over all prompts and by style."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from thumbtune.evaluation.statistics import Interval
from thumbtune.evaluation.win_rates import (
    CHANCE,
    ESTIMANDS,
    Estimand,
    Units,
    careful_interval,
    holm,
    mean_change,
    units,
    win_rate,
)

ALPHA = 0.05
MAX_DISTANCE = 0.05  # an interval within this of one half says that the sides are as good as each other
MIN_PROMPTS_OF_ADVICE = 10  # below this the number of prompts that would tell cannot be foretold
Table = Sequence[Sequence[float]]  # [prompts, k]


@dataclass(frozen=True)
class ScorePair:
    """The scores of both models by one scorer; NaN where it failed."""

    before: Table
    after: Table


def standings(
    scores: Mapping[str, ScorePair], prompts: Sequence[str], styles: Sequence[str] | None = None, tie: float = 0.0
) -> list[dict[str, Any]]:
    """Return a row for each scorer, estimand and style; `style` is None for all prompts together.

    Holm's correction is over the scorers, within an estimand and a style.
    """
    rows: list[dict[str, Any]] = []
    groups: list[str | None] = [None, *(dict.fromkeys(styles) if styles else ())]
    for style in groups:
        chosen = [i for i in range(len(prompts)) if style is None or (styles and styles[i] == style)]
        unit = units([prompts[i] for i in chosen], [styles[i] for i in chosen] if styles else None)
        for estimand in ESTIMANDS:
            some = [_row(name, pair, chosen, unit, estimand, tie) for name, pair in scores.items()]
            corrected = holm([row["sign_test"] for row in some if row["prompts"]])
            for row in some:
                row |= {"style": style, "holm": corrected.pop(0) if row["prompts"] else None}
            rows += some
    return rows


def _row(
    name: str, pair: ScorePair, chosen: Sequence[int], unit: Units, estimand: Estimand, tie: float
) -> dict[str, Any]:
    before, after = (np.asarray(side, np.float64)[list(chosen)] for side in (pair.before, pair.after))
    if np.isnan(before + after).all():
        return {"scorer": name, "estimand": estimand, "prompts": 0}
    change = mean_change(before, after, unit)
    means = {name: {"mean": value, **asdict(interval)} for name, (value, interval) in change.items()}
    return {"scorer": name, **asdict(win_rate(before, after, unit, estimand, tie=tie)), **means}


def sentence(row: Mapping[str, Any], a: str, b: str) -> str:
    """Return a row as a sentence."""
    if not row["prompts"]:
        return f"{row['scorer']} has no scores for both models."
    low, high = careful(row)
    how = "median image" if row["estimand"] == "median" else "image"
    what = "prompts" if row["estimand"] == "median" else "pairs"
    rate = f"{row['rate']:.1%} of {what} (95% interval {low:.1%} to {high:.1%})"
    start = f"{row['scorer']}: {b}'s {how} scores higher than {a}'s in {rate}"
    if decided(row):
        return f"{start}, so {b if low > CHANCE else a} is better by this scorer."
    if equal(row):
        return f"{start}, so both are equally good by this scorer."
    return f"{start}: not enough evidence{_advice(row)}."


def decided(row: Mapping[str, Any]) -> bool:
    """Return whether one model is better by the interval and by a test corrected for the number of scorers."""
    low, high = careful(row)
    return (low > CHANCE or high < CHANCE) and row["holm"] < ALPHA


def equal(row: Mapping[str, Any]) -> bool:
    """Return whether the interval shows that both models are about equally good; a wide one shows nothing."""
    low, high = careful(row)
    return not decided(row) and low >= CHANCE - MAX_DISTANCE and high <= CHANCE + MAX_DISTANCE


def _advice(row: Mapping[str, Any]) -> str:
    """Return how many more prompts would decide, if these do not."""
    if row["distinct"] < MIN_PROMPTS_OF_ADVICE:
        return f" from {row['distinct']} prompt{'' if row['distinct'] == 1 else 's'}"
    more = row["more_prompts"]
    return f"; about {more} more prompts would decide" if more else "; the models are close" if more is None else ""


def careful(row: Mapping[str, Any]) -> tuple[float, float]:
    """Return the low and the high end of the interval that decides, see `careful_interval`."""
    bootstrap, wilson = Interval(**row["bootstrap"]), Interval(**row["wilson"])
    reach = careful_interval(row["estimand"], row["distinct"], bootstrap, wilson)
    return reach.low, reach.high
