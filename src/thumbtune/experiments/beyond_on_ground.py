"""`beyond` on a ground that can tell methods apart: all methods at one budget, compared image by image."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.grid_summary import values_of
from thumbtune.experiments.ground_cells import ground_seeds
from thumbtune.experiments.ground_pages import (
    SEEDS_CAPTION,
    GroundPage,
    ground_result,
    plot_shares,
    run_cells,
    say_shares,
)
from thumbtune.experiments.ground_tables import claim_better, claims_of_separation, rows_by
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.methods import METHODS, PAPER, measure_of, method_cells
from thumbtune.experiments.person_sentences import labels_of
from thumbtune.experiments.result_page import Claim, Result

SEEDS = 8
COLUMN, SECONDS, RELATIVE = "method", "train_seconds", "cost"
COST_NOTE = (
    "Cost is the processor time of a training relative to that of the paper's row in the same seed. It counts the "
    "steps after the first one and saving, and neither images to rate, of the pool or of later rounds, nor encoding. "
    "A training that was stopped and continued is not measured."
)


def cost_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what cost is, and how many of the trainings have it."""
    measured, every = sum(RELATIVE in row for row in rows), sum(row.get("status") == "trained" for row in rows)
    return f"{COST_NOTE} So {measured} of {every} trainings have it."


def claims_of(named: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    """Return the claims: the ground separates, and each method is better than the paper's recipe."""
    others = [name for name in named if name != PAPER] if PAPER in named else []
    return [*claims_of_separation(named, "methods"), *(claim_better(named, name, PAPER) for name in others)]


def with_cost(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with their processor time relative to that of the paper's row of their seed."""
    papers = values_of(rows, SECONDS, method=PAPER)
    known = [row.get(SECONDS) is not None and row["seed"] in papers for row in rows]
    return [
        dict(row) | ({RELATIVE: row[SECONDS] / papers[row["seed"]]} if has_cost else {})
        for row, has_cost in zip(rows, known, strict=True)
    ]


def settings_table(names: Sequence[str]) -> list[dict[str, str]]:
    """Return what each method is, and its settings beside the budget."""
    return [{COLUMN: name, "is": METHODS[name].about, "settings": " ".join(METHODS[name].settings)} for name in names]


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train every chosen method on every seed, compare all pairs, and decide the claims."""
    cells = method_cells(order, ground_seeds(order, SEEDS), METHODS)
    rows = with_cost(run_cells(order, progress, say, cells, measure_of(METHODS)))
    ground = GROUNDS[order.ground]
    named = rows_by(rows, lambda row: row[COLUMN])
    say_shares(named, say)
    return ground_result(
        order,
        rows,
        named,
        {COLUMN: COLUMN},
        GroundPage(
            title="Beyond the paper",
            figure=plot_shares(named),
            caption=SEEDS_CAPTION,
            claims=claims_of(named),
            labels=f"{labels_of(ground, flipped=ground.flipped)}, unless a method says otherwise",
            measures=(RELATIVE, SECONDS),
            more_tables={"Methods": settings_table(list(named))},
            notes=(cost_note(list(chain(*named.values()))),),
        ),
    )
