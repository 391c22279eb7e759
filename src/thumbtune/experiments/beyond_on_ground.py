"""`beyond` on a ground that can tell methods apart: all methods at one budget, compared image by image."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from thumbtune.experiments import ground_tables
from thumbtune.experiments.criteria import CRITERION
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.grid_summary import means, page_rows_of, values_of
from thumbtune.experiments.ground_cells import ground_seeds
from thumbtune.experiments.ground_tables import MEASURES, SHARE, about_ground, claim_better, claim_separates
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.methods import METHODS, PAPER, measure_of, method_cells
from thumbtune.experiments.result_page import Claim, Result
from thumbtune.experiments.seed_statistics import UNBOUNDED_NOTE
from thumbtune.experiments.training_grid import Grid, run_grid

SEEDS = 8
COLUMN, SECONDS, RELATIVE = "method", "train_seconds", "cost"
COST_NOTE = (
    "Cost is the processor time of a training relative to that of the paper's row in the same seed; seconds are those "
    "of the processor, with encoding and saving."
)


def claims_of(named: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    """Return the claims: the ground separates, and each method is better than the paper's recipe."""
    others = [name for name in named if name != PAPER] if PAPER in named else []
    return [claim_separates(named, "methods"), *(claim_better(named, name, PAPER) for name in others)]


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
    rows = with_cost(ground_tables.with_shares(run_grid(Grid(order, progress, say), cells, measure_of(METHODS))))
    named = ground_tables.rows_by(rows, COLUMN)
    summary = means(ground_tables.plain(list(chain(*named.values()))), (COLUMN,), (*MEASURES, RELATIVE, SECONDS))
    found = ground_tables.separation_of(named)
    say(f"Between methods: {found or 'one seed or one method has no F'}.")
    for name, of_name in named.items():
        shares = list(values_of(of_name, SHARE).values())
        say(f"{name}: {f'{np.mean(shares):.2f} of the headroom' if shares else 'no result'}")
    return Result(
        title=f"Beyond the paper, on the ground {GROUNDS[order.ground].title}",
        about=f"{about_ground(order)} {ground_tables.seeds_note(rows)}\n\nA method is better than another one if "
        f"{CRITERION}",
        figure=ground_tables.plot_shares(named),
        caption="A point for each seed and a bar for their mean; 0 is the base model, 1 the base model that is asked.",
        rows=ground_tables.plain(rows),
        page_rows=page_rows_of(summary, (COLUMN,), (*MEASURES, RELATIVE, SECONDS)),
        claims=claims_of(named),
        more_tables={
            "Every pair": ground_tables.pairs_table(named, COLUMN),
            "Methods": settings_table(list(named)),
        },
        notes=(
            ground_tables.marks_note(rows),
            ground_tables.READING_NOTE,
            COST_NOTE,
            "Each claim is tested by itself: one in twenty true claims may look false.",
            UNBOUNDED_NOTE,
        ),
    )
