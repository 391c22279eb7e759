"""Tables of trainings on a ground: shares of the headroom, pairs of settings, and the F between them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from thumbtune.experiments.criteria import (
    BETTER,
    CHANCE,
    CRITERION,
    SEPARATES,
    WORSE,
    Separation,
    is_better,
    paired_win_rate,
    separation,
    share_of_headroom,
    standing_of,
)
from thumbtune.experiments.grid_summary import differences, values_of
from thumbtune.experiments.ground_cells import MARKS
from thumbtune.experiments.result_page import OPEN, Claim, verdict_of
from thumbtune.experiments.seed_statistics import mean_text
from thumbtune.experiments.training_grid import DIVERGED_STATUS

Columns = Mapping[str, Any]
SHARE = "share of headroom"
LEAST_SETTINGS = 3  # for an F
MEASURES = (SHARE, "log_odds", "gap", "named", "faithfulness", "faithfulness_change")


def with_shares(rows: Sequence[Columns]) -> list[dict[str, Any]]:
    """Return rows with their share of the headroom and change of faithfulness, by the reference marks of their seed."""
    marks = {(row["cell"], row["seed"]): row for row in rows if row["cell"] in MARKS}

    def more(row: Columns) -> dict[str, Any]:
        base, asked = (marks.get((mark, row["seed"])) for mark in MARKS)
        if base is None or asked is None or "log_odds" not in row:
            return {}
        return {
            SHARE: share_of_headroom(row["log_odds"], base["log_odds"], asked["log_odds"]),
            "faithfulness_before": base["faithfulness"],
            "faithfulness_change": row["faithfulness"] - base["faithfulness"],
        }

    return [dict(row) | more(row) for row in rows]


def plain(rows: Sequence[Columns]) -> list[dict[str, Any]]:
    """Return rows without the scores of images."""
    return [{name: value for name, value in row.items() if name != "scores"} for row in rows]


def rows_by(rows: Sequence[Columns], name_of: Callable[[Columns], str]) -> dict[str, list[Columns]]:
    """Return name of a setting -> its rows, without the reference marks, in their order."""
    named: dict[str, list[Columns]] = {}
    for row in rows:
        if row["cell"] not in MARKS:
            named.setdefault(name_of(row), []).append(row)
    return named


def gains_over(a: Sequence[Columns], b: Sequence[Columns], measure: str = SHARE) -> list[float]:
    """Return measure of a minus that of b, on the seeds of both."""
    return differences(values_of(a, measure), values_of(b, measure))


def better(a: Sequence[Columns], b: Sequence[Columns]) -> bool | None:
    """Return whether the rows of a are better than those of b, by the criterion; None where it cannot be told.

    Of two settings, one whose training diverged in every seed loses to one that was trained.
    """
    lost = diverged(a), diverged(b)
    if any(lost):
        return None if all(lost) else lost[1]
    return is_better(gains_over(a, b, "log_odds"), gains_over(a, b, "faithfulness"))


def diverged(rows: Sequence[Columns]) -> bool:
    """Return whether the training of a setting diverged in every seed."""
    return bool(rows) and all(row.get("status", "").startswith(DIVERGED_STATUS) for row in rows)


def standing(a: Sequence[Columns], b: Sequence[Columns]) -> str:
    """Return in a word or two how the rows of a stand against those of b."""
    if diverged(a) or diverged(b):
        return {True: BETTER, False: WORSE, None: OPEN}[better(a, b)]
    return standing_of(gains_over(a, b, "log_odds"), gains_over(a, b, "faithfulness")) or OPEN


def win_rates(a: Sequence[Columns], b: Sequence[Columns]) -> list[float]:
    """Return, for each seed of both, the share of paired images to which the judge gives higher log-odds in a."""
    scores = [{row["seed"]: row["scores"]["judge"] for row in rows if "scores" in row} for rows in (a, b)]
    return [paired_win_rate(scores[0][seed], scores[1][seed]) for seed in sorted(scores[0].keys() & scores[1].keys())]


def claim_better(named: Mapping[str, Sequence[Columns]], a: str, b: str) -> Claim:
    """Return the claim that one setting is better than another one."""
    one, other = named[a], named[b]
    return Claim(f"{a} is better than {b}", CRITERION, verdict_of(better(one, other)), evidence(one, other))


def evidence(one: Sequence[Columns], other: Sequence[Columns]) -> str:
    """Return the numbers of a comparison as a sentence."""
    for rows, name in ((one, "the first"), (other, "the second")):
        if diverged(rows):
            return f"{name} diverged in every seed."
    used, seeds = len(gains_over(one, other, "log_odds")), len({row["seed"] for row in (*one, *other)})
    return (
        f"log-odds {mean_text(gains_over(one, other, 'log_odds'), '+.2f')}, "
        f"share of the headroom {mean_text(gains_over(one, other), '+.2f')}, "
        f"faithfulness {mean_text(gains_over(one, other, 'faithfulness'), '+.4f')}, "
        f"wins {mean_text(win_rates(one, other), '.1%')} of the paired images"
        + ("." if used == seeds else f", on the remaining {used} of {seeds} seeds.")
    )


def pairs_table(named: Mapping[str, Sequence[Columns]], column: str) -> list[dict[str, Any]]:
    """Return a row for each pair of settings: paired differences, win-rate and verdict."""
    return [
        {
            column: a,
            "against": b,
            "seeds": len(gains_over(named[a], named[b])),
            "log-odds": mean_text(gains_over(named[a], named[b], "log_odds"), "+.2f"),
            SHARE: mean_text(gains_over(named[a], named[b]), "+.2f"),
            "faithfulness": mean_text(gains_over(named[a], named[b], "faithfulness"), "+.4f"),
            "wins": mean_text(win_rates(named[a], named[b]), ".1%"),
            "verdict": standing(named[a], named[b]),
        }
        for a, b in combinations(named, 2)
    ]


def separation_of(named: Mapping[str, Sequence[Columns]]) -> Separation | None:
    """Return the F of the settings' shares over seeds; seeds that a setting lacks are left out."""
    shares = [values_of(rows, SHARE) for rows in named.values()]
    if not shares:
        return None
    seeds = sorted(set.intersection(*map(set, shares)))
    return separation(np.array([[of_seed[seed] for seed in seeds] for of_seed in shares]))


def claims_of_separation(named: Mapping[str, Sequence[Columns]], what: str) -> list[Claim]:
    """Return the claim that the ground tells settings apart, of three settings or more.

    Of two settings, F is the square of the t of their paired difference, which the claim on that pair tests already.
    """
    return [_claim_separates(named, what)] if len(named) >= LEAST_SETTINGS else []


def _claim_separates(named: Mapping[str, Sequence[Columns]], what: str) -> Claim:
    found = separation_of(named)
    return Claim(
        f"This ground tells {what} apart",
        f"the F of {what} over cells, with seeds as blocks, is above {SEPARATES:g}, and p is below {CHANCE:g}. With a "
        "larger p it cannot be told.",
        verdict_of(None if found is None or found.p >= CHANCE else found.f > SEPARATES),
        "one seed has no F." if found is None else f"{found}.",
    )
