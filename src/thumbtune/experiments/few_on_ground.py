"""`few` on a ground: the share of the headroom against the number of labels, for the paper's recipe and ours."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

from thumbtune.experiments import demo
from thumbtune.experiments.criteria import CRITERION
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.ground_cells import cells_by_seed, ground_cell
from thumbtune.experiments.ground_pages import GroundPage, ground_result, plot_curves, run_cells, say_shares
from thumbtune.experiments.ground_tables import better, evidence, rows_by
from thumbtune.experiments.grounds import GROUNDS, PER_PROMPT
from thumbtune.experiments.methods import AUTO_WINDOW, LEAD, METHODS, PAPER
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import GridCell

SEEDS = 5
COUNTS = (24, 48, 96, 192, 384)
QUICK_COUNTS = (9, 18)
TAKEN = (PAPER, LEAD, AUTO_WINDOW)
COLUMN = "thumbs"  # as the rows of the line-art demo name it; pages show "labels"
Named = Mapping[str, Sequence[Mapping[str, Any]]]


def name_of(method: str, count: int) -> str:
    """Return the name of a setting on the page."""
    return f"{method}, {count} labels"


def cells(order: Order) -> list[GridCell]:
    """Return the cells, seed by seed; a smaller set is the beginning of a larger one, over all concepts in turn."""
    ground, concepts = order.ground, len(demo.concepts()["rated"])
    counts = QUICK_COUNTS if order.quick else COUNTS

    def of_seed(seed: int) -> Iterator[GridCell]:
        for method, count in product(order.chosen(TAKEN), counts):
            yield ground_cell(
                ground,
                f"{method}-{count:03d}",
                seed,
                METHODS[method].settings,
                rating=Rating(count=count, flipped=GROUNDS[ground].flipped),
                per_prompt=max(PER_PROMPT, math.ceil(max(counts) / concepts)),
                columns={"method": method, COLUMN: count},
            )

    return cells_by_seed(order, SEEDS, of_seed)


def claim_more_is_better(named: Named, method: str, counts: Sequence[int]) -> Claim:
    """Return the claim that the most labels are better than the fewest."""
    most, fewest = (named[name_of(method, count)] for count in (counts[-1], counts[0]))
    return Claim(
        f"{method}: {counts[-1]} labels are better than {counts[0]}",
        CRITERION,
        verdict_of(better(most, fewest)),
        evidence(most, fewest),
    )


def claim_half_suffices(named: Named, method: str, counts: Sequence[int]) -> Claim:
    """Return the claim that a method with half the labels is better than the paper's recipe with all."""
    halves = [
        (f"{half} against {whole}", named[name_of(method, half)], named[name_of(PAPER, whole)])
        for half, whole in pairwise(counts)
        if whole == 2 * half
    ]
    conditions = [better(half, whole) for _, half, whole in halves]
    is_open = not conditions or None in conditions
    return Claim(
        f"With half the labels {method} is better than the paper's recipe with all",
        f"at one number of labels at least, {CRITERION} The best of {len(halves)} comparisons decides, without a "
        "correction.",
        verdict_of(True if True in conditions else None if is_open else False),
        " ".join(f"{what}: {evidence(half, whole)}" for what, half, whole in halves)
        or "no number of labels is half of the next one.",
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train on every number of labels, plot the shares, and decide the claims."""
    rows = run_cells(order, progress, say, cells(order))
    named = rows_by(rows, lambda row: name_of(row["method"], row[COLUMN]))
    counts = QUICK_COUNTS if order.quick else COUNTS
    methods = order.chosen(TAKEN)
    say_shares(named, say)
    return ground_result(
        order,
        rows,
        named,
        {"method": "method", COLUMN: "labels"},
        GroundPage(
            title="How many labels are enough",
            figure=plot_curves(
                [row for of_name in named.values() for row in of_name], COLUMN, "labels", logarithmic=True
            ),
            caption="Share of the headroom with Student's 95% interval over seeds.",
            claims=[
                *(claim_more_is_better(named, method, counts) for method in methods),
                *(
                    claim_half_suffices(named, method, counts)
                    for method in methods
                    if PAPER in methods and method != PAPER
                ),
            ],
        ),
    )
