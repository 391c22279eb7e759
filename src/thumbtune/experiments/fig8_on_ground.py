"""`fig8` on a ground: the paper's four ablations around its recipe, with labels from noisy comparisons in pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from thumbtune.experiments.criteria import CRITERION
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.fig8 import (
    BETAS,
    BOTH,
    SHARES,
    WIN,
    WITHOUT,
    Ablation,
    ablation_rows,
    claim_diverges,
    claim_rises,
)
from thumbtune.experiments.ground_cells import ground_cell, ground_seeds, mark_cells
from thumbtune.experiments.ground_pages import (
    SEEDS_CAPTION,
    GroundPage,
    ground_result,
    plot_shares,
    run_cells,
    say_shares,
)
from thumbtune.experiments.ground_tables import SHARE, better, evidence, rows_by
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.person_sentences import LIKED_BY, labels_of
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.simulated_labels import Rating

SEEDS = 3
BETA, RATIO, UTILITY = 5000, 0.8, "kahneman-tversky"  # the paper's; each panel changes one of them
RECIPE_NOTE = (
    f"Each panel changes one setting of the paper's recipe: beta {BETA}, positive ratio {RATIO}, {UTILITY}, images "
    "that won at least once are liked."
)
POLICY_NOTE = (
    f"The panel of sampling policies has other labels: {LIKED_BY[WIN]} ({WIN}), or {LIKED_BY[WITHOUT]} ({WITHOUT})."
)
Named = Mapping[str, Sequence[Mapping[str, Any]]]


def ablations(order: Order, seed: int) -> list[Ablation]:
    """Return the four panels of a seed; a quick order has two values in each."""
    flipped = GROUNDS[order.ground].flipped

    def cell(name: str, rule: str = BOTH, beta: int = BETA, ratio: float = RATIO, utility: str = UTILITY) -> Any:
        settings = (f"objective.beta={beta}", f"train.liked_share={ratio:g}", f"objective.utility={utility}")
        rating = Rating(rule=rule, flipped=flipped)
        return ground_cell(order.ground, name, seed, ("objective.name=kto", *settings), rating=rating)

    base = cell("base-recipe")
    panels = {
        "sampling policy": {
            rule: base if rule == BOTH else cell(f"policy-{rule.replace(' ', '-')}", rule=rule)
            for rule in (WIN, BOTH, WITHOUT)
        },
        "positive ratio": {
            f"{ratio:g}": base if ratio == RATIO else cell(f"share-{ratio:g}", ratio=ratio) for ratio in SHARES
        },
        "utility": {
            utility: base if utility == UTILITY else cell(f"utility-{utility}", utility=utility)
            for utility in ("loss-averse", UTILITY, "risk-seeking")
        },
        "beta": {f"{beta}": base if beta == BETA else cell(f"beta-{beta}", beta=beta) for beta in BETAS},
    }
    full = [Ablation(title, cells) for title, cells in panels.items()]
    if not order.quick:
        return full
    return [Ablation(a.title, {v: c for i, (v, c) in enumerate(a.cells.items()) if not i or c is base}) for a in full]


def claim_best(named: Named, ablation: str, best: str, statement: str) -> Claim:
    """Return the claim that one value of an ablation is better than each other one."""
    of_best = named[f"{ablation}: {best}"]
    others = {name: rows for name, rows in named.items() if name.startswith(f"{ablation}: ") and rows is not of_best}
    return Claim(
        statement,
        f"against each other value, {CRITERION}",
        verdict_of(*(better(of_best, rows) for rows in others.values())),
        " ".join(f"Against {name.partition(': ')[2]}: {evidence(of_best, rows)}" for name, rows in others.items()),
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train every cell of every panel once, seed by seed, so that an early stop leaves whole seeds."""
    seeds = ground_seeds(order, SEEDS)
    varied = ablations(order, seeds[0])
    cells = {cell.name: cell for ablation in varied for cell in ablation.cells.values()}
    wanted = [
        cell
        for seed in seeds
        for cell in (*mark_cells(order.ground, seed), *(replace(cell, seed=seed) for cell in cells.values()))
    ]
    ground = GROUNDS[order.ground]
    rows = run_cells(order, progress, say, wanted)
    in_panels = [row | ({"gain": row[SHARE]} if SHARE in row else {}) for row in ablation_rows(varied, rows)]
    named = rows_by(in_panels, lambda row: f"{row['ablation']}: {row['value']}")
    say_shares(named, say)
    return ground_result(
        order,
        rows,
        named,
        {"ablation": "ablation", "value": "value"},
        GroundPage(
            title="Figure 8: four ablations",
            figure=plot_shares(named),
            pairs=False,
            caption=SEEDS_CAPTION,
            claims=[
                claim_best(named, "sampling policy", BOTH, "Images that won at least once should count as liked"),
                claim_best(named, "positive ratio", "0.8", "A positive ratio of 0.8 is best"),
                claim_diverges(in_panels),
                claim_best(named, "utility", UTILITY, "The Kahneman-Tversky utility is best"),
                claim_rises(in_panels),
            ],
            labels=labels_of(ground, BOTH, ground.flipped),
            notes=(RECIPE_NOTE, POLICY_NOTE),
        ),
    )
