"""What a duel's scores come to: who wins how often and how the mean moves, for each scorer, over all and by style."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from thumbtune.evaluation.win_rates import ESTIMANDS, Estimand, Units, holm, mean_change, units, win_rate

ALPHA = 0.05
CHANCE = 0.5
EQUAL = 0.05  # an interval that lies so near to one half says that the sides are as good as each other
ENOUGH = 20  # prompts for a bootstrap to be asked alone
FEW = 10  # prompts, below which nothing can be foretold
Table = Sequence[Sequence[float]]  # [prompts, k]


@dataclass(frozen=True)
class Told:
    """One scorer's two tables, not a number where it failed."""

    before: Table
    after: Table


def standings(
    told: Mapping[str, Told], prompts: Sequence[str], styles: Sequence[str] | None = None, tie: float = 0.0
) -> list[dict[str, Any]]:
    """A row for each scorer, estimand and style; `style` is None for all prompts together.

    Holm's correction is over the scorers, within an estimand and a style.
    """
    rows: list[dict[str, Any]] = []
    groups: list[str | None] = [None, *(dict.fromkeys(styles) if styles else ())]
    for style in groups:
        chosen = [i for i in range(len(prompts)) if style is None or (styles and styles[i] == style)]
        unit = units([prompts[i] for i in chosen], [styles[i] for i in chosen] if styles else None)
        for estimand in ESTIMANDS:
            some = [_row(name, one, chosen, unit, estimand, tie) for name, one in told.items()]
            corrected = holm([row["sign_test"] for row in some if row["prompts"]])
            for row in some:
                row |= {"style": style, "holm": corrected.pop(0) if row["prompts"] else None}
            rows += some
    return rows


def _row(name: str, told: Told, chosen: Sequence[int], unit: Units, estimand: Estimand, tie: float) -> dict[str, Any]:
    before, after = (np.asarray(side, np.float64)[list(chosen)] for side in (told.before, told.after))
    if np.isnan(before + after).all():
        return {"scorer": name, "estimand": estimand, "prompts": 0}
    change = mean_change(before, after, unit)
    means = {name: {"mean": value, **asdict(interval)} for name, (value, interval) in change.items()}
    return {"scorer": name, **asdict(win_rate(before, after, unit, estimand, tie=tie)), **means}


def sentence(row: Mapping[str, Any], a: str, b: str) -> str:
    """What a row says, for people."""
    if not row["prompts"]:
        return f"{row['scorer']}: nothing was scored on both sides."
    low, high = careful(row)
    how = "median image" if row["estimand"] == "median" else "image"
    what = "prompts" if row["estimand"] == "median" else "pairs"
    rate = f"{row['rate']:.1%} of {what} (95% interval {low:.1%} to {high:.1%})"
    said = f"{row['scorer']}: {b}'s {how} scores higher than {a}'s in {rate}"
    if decided(row):
        return f"{said}, so {b if low > CHANCE else a} is better by this scorer."
    if low >= CHANCE - EQUAL and high <= CHANCE + EQUAL:
        return f"{said}, so they are as good as each other by this scorer."
    return f"{said}: too little to tell{_advice(row)}."


def decided(row: Mapping[str, Any]) -> bool:
    """Whether one side is shown to be better: by its interval, and by a test that knows how many scorers were asked."""
    low, high = careful(row)
    return (low > CHANCE or high < CHANCE) and row["holm"] < ALPHA


def _advice(row: Mapping[str, Any]) -> str:
    """What would tell, where these prompts do not."""
    if row["distinct"] < FEW:
        return f" from {row['distinct']} prompt{'' if row['distinct'] == 1 else 's'}"
    more = row["more_prompts"]
    return f"; about {more} more prompts would" if more else "; the sides are close" if more is None else ""


def careful(row: Mapping[str, Any]) -> tuple[float, float]:
    """The wider reach of the bootstrap and of Wilson: a bootstrap of few prompts promises too much.

    For pairs of images Wilson's interval takes each prompt for one all-or-nothing trial, which it is not; there the
    bootstrap counts alone where it has enough prompts to draw from.
    """
    kinds = [row["bootstrap"]]
    if row["estimand"] == "median" or row["distinct"] < ENOUGH or row["bootstrap"]["low"] == row["bootstrap"]["high"]:
        kinds.append(row["wilson"])
    return min(kind["low"] for kind in kinds), max(kind["high"] for kind in kinds)
