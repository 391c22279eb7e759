"""Tables and figures of trainings on a ground: shares of the headroom, pairs of settings, and the F between them."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from thumbtune.experiments import grounds
from thumbtune.experiments.criteria import (
    CRITERION,
    SEPARATES,
    Separation,
    is_better,
    paired_win_rate,
    separation,
    share_of_headroom,
)
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.figures import BLUE, PALE, panels
from thumbtune.experiments.grid_summary import differences, values_of
from thumbtune.experiments.ground_cells import ASKED, BASE, MARKS
from thumbtune.experiments.grounds import GROUNDS, POOL
from thumbtune.experiments.result_page import FAILS, HOLDS, OPEN, Claim, verdict_of
from thumbtune.experiments.seed_statistics import mean_text
from thumbtune.experiments.training_grid import QUICK
from thumbtune.runs.recipe import read_recipe

Columns = Mapping[str, Any]
SHARE = "share of headroom"
MEASURES = (SHARE, "log_odds", "gap", "named", "faithfulness", "faithfulness_change")
READING_NOTE = (
    "A share of the headroom is 0 for the base model and 1 for the base model that is asked for the style in its "
    "prompt. The gap is the mean log-odds of the rater's network minus that of the judge's: where it grows beyond the "
    "gaps of the marks, a method is fitted to the rater."
)


def with_shares(rows: Sequence[Columns]) -> list[dict[str, Any]]:
    """Return rows with their share of the headroom and change of faithfulness, by the reference marks of their seed."""
    marks = {(row["cell"], row["seed"]): row for row in rows if row["cell"] in MARKS}

    def more(row: Columns) -> dict[str, Any]:
        base, asked = (marks.get((mark, row["seed"])) for mark in MARKS)
        if base is None or asked is None or "log_odds" not in row:
            return {}
        return {
            SHARE: share_of_headroom(row["log_odds"], base["log_odds"], asked["log_odds"]),
            "faithfulness_change": row["faithfulness"] - base["faithfulness"],
        }

    return [dict(row) | more(row) for row in rows]


def plain(rows: Sequence[Columns]) -> list[dict[str, Any]]:
    """Return rows without the scores of images."""
    return [{name: value for name, value in row.items() if name != "scores"} for row in rows]


def rows_by(rows: Sequence[Columns], column: str) -> dict[str, list[Columns]]:
    """Return value of a column -> its rows, without the reference marks, in their order."""
    names = dict.fromkeys(row[column] for row in rows if row["cell"] not in MARKS)
    return {name: [row for row in rows if row[column] == name and row["cell"] not in MARKS] for name in names}


def gains_over(a: Sequence[Columns], b: Sequence[Columns], measure: str = SHARE) -> list[float]:
    """Return measure of a minus that of b, on the seeds of both."""
    return differences(values_of(a, measure), values_of(b, measure))


def better(a: Sequence[Columns], b: Sequence[Columns]) -> bool | None:
    """Return whether the rows of a are better than those of b, by the criterion; None where it cannot be told."""
    return is_better(gains_over(a, b, "log_odds"), gains_over(a, b, "faithfulness"))


def win_rates(a: Sequence[Columns], b: Sequence[Columns]) -> list[float]:
    """Return, for each seed of both, the share of paired images to which the judge gives higher log-odds in a."""
    scores = [{row["seed"]: row["scores"]["judge"] for row in rows if "scores" in row} for rows in (a, b)]
    return [paired_win_rate(scores[0][seed], scores[1][seed]) for seed in sorted(scores[0].keys() & scores[1].keys())]


def claim_better(named: Mapping[str, Sequence[Columns]], a: str, b: str) -> Claim:
    """Return the claim that one setting is better than another one."""
    one, other = named[a], named[b]
    verdict = {True: HOLDS, False: FAILS, None: OPEN}[better(one, other)]
    return Claim(f"{a} is better than {b}", CRITERION, verdict, evidence(one, other))


def evidence(one: Sequence[Columns], other: Sequence[Columns]) -> str:
    """Return the numbers of a comparison as a sentence."""
    return (
        f"log-odds {mean_text(gains_over(one, other, 'log_odds'), '+.2f')}, "
        f"share of the headroom {mean_text(gains_over(one, other), '+.2f')}, "
        f"faithfulness {mean_text(gains_over(one, other, 'faithfulness'), '+.4f')}, "
        f"wins {mean_text(win_rates(one, other), '.1%')} of the paired images."
    )


def pairs_table(named: Mapping[str, Sequence[Columns]], column: str) -> list[dict[str, Any]]:
    """Return a row for each pair of settings: paired differences, win-rate and verdict."""
    words = {True: "better", False: "worse", None: OPEN}
    return [
        {
            column: a,
            "against": b,
            "seeds": len(gains_over(named[a], named[b])),
            "log-odds": mean_text(gains_over(named[a], named[b], "log_odds"), "+.2f"),
            SHARE: mean_text(gains_over(named[a], named[b]), "+.2f"),
            "faithfulness": mean_text(gains_over(named[a], named[b], "faithfulness"), "+.4f"),
            "wins": mean_text(win_rates(named[a], named[b]), ".1%"),
            "verdict": words[better(named[a], named[b])],
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


def claim_separates(named: Mapping[str, Sequence[Columns]], what: str) -> Claim:
    """Return the claim that the ground tells settings apart."""
    found = separation_of(named)
    return Claim(
        f"This ground tells {what} apart",
        f"the F of {what} over cells, with seeds as blocks, is above {SEPARATES:g}.",
        verdict_of(None if found is None else found.f > SEPARATES),
        "one seed or one setting has no F." if found is None else f"{found}.",
    )


def plot_shares(named: Mapping[str, Sequence[Columns]]) -> Any:
    """Plot a line for each setting: the share of the headroom of each seed, and a bar for their mean."""
    figure, (axis,) = panels(1, 1, (5.2, 1 + 0.26 * len(named)))
    for y, rows in enumerate(named.values()):
        shares = list(values_of(rows, SHARE).values())
        axis.plot(shares, [y] * len(shares), "o", color=BLUE, markersize=3.5, alpha=0.6, markeredgewidth=0)
        if shares:
            axis.plot(np.mean(shares), y, "|", color=BLUE, markersize=12)
    for mark in (0, 1):
        axis.axvline(mark, color=PALE, linewidth=1, zorder=0)
    axis.set(xlabel=SHARE, yticks=range(len(named)), ylim=(len(named) - 0.5, -0.5))
    axis.set_yticklabels(list(named))
    return figure


def about_ground(order: Order) -> str:
    """Return what a page tells of its ground: person, pool, budget and judge."""
    ground = GROUNDS[order.ground]
    settings = [*grounds.BUDGET, *grounds.REST, *(QUICK if order.quick else ())]
    recipe = read_recipe(None, settings)
    train, draw = recipe.train, recipe.evaluate
    return (
        f"Ground: {ground.title}. The person is simulated: {ground.sentence} They label images that the base model "
        f"generates at bare prompts ({POOL.steps} steps, guidance {POOL.guidance:g}). Each training has {train.steps} "
        f"steps of {train.batch} images at a rate of {train.lr:g} unless a setting says otherwise. The judge is the "
        f"large style network, which gave no label, on 24 concepts that nobody rated, {draw.per_prompt} images each "
        f"({draw.steps} steps of DDIM, guidance {draw.guidance:g}), paired by prompt and seed."
    )


def marks_note(rows: Sequence[Columns]) -> str:
    """Return a sentence with the log-odds and the faithfulness of both reference marks."""
    texts = []
    for mark, name in ((BASE, "the base model"), (ASKED, "the base model that is asked for the style")):
        chosen = [row for row in rows if row["cell"] == mark]
        odds, gap, faithful = ([row[key] for row in chosen] for key in ("log_odds", "gap", "faithfulness"))
        texts.append(
            f"{name} has log-odds of {mean_text(odds, '.2f')}, a gap of {mean_text(gap, '.2f')} and a faithfulness of "
            f"{mean_text(faithful)}"
        )
    return f"Reference marks: {'; '.join(texts)}."


def seeds_note(rows: Sequence[Columns]) -> str:
    """Return a sentence with the seeds of the rows."""
    seeds = sorted({row["seed"] for row in rows})
    return f"Seeds: {', '.join(map(str, seeds))}. No setting was chosen on seeds from {grounds.FIRST_SEED} on."
