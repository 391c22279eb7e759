"""`draws`: a few noise draws for each image, whose reference errors are computed once, against new noise at each step.

With N draws the loss of an image is a mean over N noises and noise levels in place of all of them. That mean is off by
a fixed amount (the same noises come again), and costs fewer passes of the reference. Whether the first matters is
measured here, and not argued.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.ground_cells import cells_by_seed, ground_cell
from thumbtune.experiments.ground_pages import (
    SEEDS_CAPTION,
    GroundPage,
    ground_result,
    plot_shares,
    run_cells,
    say_shares,
)
from thumbtune.experiments.ground_tables import evidence, gains_over, rows_by
from thumbtune.experiments.methods import LEAD, METHODS
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.seed_statistics import is_above
from thumbtune.experiments.training_grid import GridCell

SEEDS = 5
COUNTS = (1, 2, 4, 16, 0)  # 0: new noise at each step
QUICK_COUNTS = (2, 0)
ALLOWED_LOSS = 0.1  # of the headroom
COLUMN = "noise draws"
Named = Mapping[str, Sequence[Mapping[str, Any]]]


def name_of(count: int) -> str:
    """Return the name of a setting on the page."""
    return f"{count} draws" if count > 1 else "1 draw" if count else "new noise"


def counts_of(order: Order) -> tuple[int, ...]:
    """Return the numbers of draws to compare."""
    return QUICK_COUNTS if order.quick else COUNTS


def cells(order: Order) -> list[GridCell]:
    """Return the cells, seed by seed."""

    def of_seed(seed: int) -> Iterator[GridCell]:
        for count in counts_of(order):
            settings = (*METHODS[LEAD].settings, f"train.noise_draws={count}")
            yield ground_cell(order.ground, f"draws-{count:02d}", seed, settings, columns={COLUMN: count})

    return cells_by_seed(order, SEEDS, of_seed)


def claim_keeps(named: Named, count: int) -> Claim:
    """Return the claim that so many draws gain about as much as new noise, and lose no more faithfulness."""
    few, fresh = named[name_of(count)], named[name_of(0)]
    shares, faithful = gains_over(few, fresh), gains_over(few, fresh, "faithfulness")
    return Claim(
        f"{name_of(count)} an image {'gains' if count == 1 else 'gain'} as much as new noise at each step",
        f"the share of the headroom, paired by seed, is not lower by more than {ALLOWED_LOSS:g}, nor is the "
        "faithfulness by more than 0.01: both intervals over seeds lie above that.",
        verdict_of(is_above(shares, -ALLOWED_LOSS), is_above(faithful, -0.01)),
        evidence(few, fresh),
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train with each number of draws on every seed, and decide the claims."""
    rows = run_cells(order, progress, say, cells(order))
    named = rows_by(rows, lambda row: name_of(row[COLUMN]))
    say_shares(named, say)
    return ground_result(
        order,
        rows,
        named,
        {COLUMN: COLUMN},
        GroundPage(
            title="Noise draws that repeat",
            figure=plot_shares(named),
            caption=SEEDS_CAPTION,
            claims=[claim_keeps(named, count) for count in counts_of(order) if count],
            measures=("likes", "dislikes"),
            notes=(
                f"All settings are those of the lead, but for the draws: {METHODS[LEAD].about}. 0 noise draws: new "
                "noise at each step.",
            ),
        ),
    )
