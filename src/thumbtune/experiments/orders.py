"""`orders`: how many votes a choice of images saves: those of which a first run is uncertain, against random ones.

The person labels the first images of a pool, a run trains on them, and then they label more, in one of two orders
(`orders_cells`). A fresh training on all these labels is measured on concepts that nobody rated. This is what Judge's
order "uncertain first" does after `thumbtune round`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.grid_summary import values_of
from thumbtune.experiments.ground_cells import cells_by_seed, measured
from thumbtune.experiments.ground_pages import GroundPage, ground_result, plot_curves, run_cells, say_shares
from thumbtune.experiments.ground_tables import SHARE, claim_better, rows_by
from thumbtune.experiments.orders_cells import FIRST, ORDERS, RANDOM, UNCERTAIN, VOTES, in_order, order_cell
from thumbtune.experiments.result_page import Claim, Result
from thumbtune.experiments.training_grid import Grid, GridCell

SEEDS = 5
FIRST_VOTES, COUNTS = 48, (96, 192)
QUICK_FIRST_VOTES, QUICK_COUNTS = 9, (12,)
Named = Mapping[str, Sequence[Mapping[str, Any]]]


def counts_of(order: Order) -> tuple[int, tuple[int, ...]]:
    """Return the number of first votes, and the numbers of all votes that are compared."""
    return (QUICK_FIRST_VOTES, QUICK_COUNTS) if order.quick else (FIRST_VOTES, COUNTS)


def cells(order: Order) -> list[GridCell]:
    """Return the cells, seed by seed; the first run comes before the orders that ask it."""
    first, counts = counts_of(order)

    def of_seed(seed: int) -> list[GridCell]:
        pairs = [(FIRST, first), *((name, count) for count in counts for name in ORDERS)]
        return [order_cell(order.ground, name, count, seed, first) for name, count in pairs]

    return cells_by_seed(order, SEEDS, of_seed)


def measure(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Return the row of a mark, or of an order."""
    return in_order(lab, cell) if "order" in cell.facts else measured(lab, cell)


def name_of(method: str, votes: int) -> str:
    """Return the name of a setting on the page."""
    return f"{method}, {votes} votes"


def votes_needed(votes: Sequence[int], shares: Sequence[float], wanted: float) -> float | None:
    """Return after how many votes a curve first reaches a share, on straight lines between its points; None if never.

    >>> votes_needed([48, 96, 192], [0.2, 0.4, 0.5], 0.45)
    144.0
    >>> votes_needed([48, 96], [0.2, 0.4], 0.1), votes_needed([48, 96], [0.2, 0.4], 0.6)
    (48.0, None)
    """
    if shares[0] >= wanted:
        return float(votes[0])
    for place in range(1, len(votes)):
        low, high = shares[place - 1], shares[place]
        if low < wanted <= high:
            part = (wanted - low) / (high - low)
            return float(votes[place - 1] + part * (votes[place] - votes[place - 1]))
    return None


def savings(named: Named, first: int, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Return, for each number of votes in the order of uncertainty, how many random ones reach the same mean share."""

    def mean(name: str) -> float | None:
        found = list(values_of(named.get(name, ()), SHARE).values())
        return float(np.mean(found)) if found else None

    begun = mean(name_of(FIRST, first))
    known = [(count, value) for count in counts if (value := mean(name_of(RANDOM, count))) is not None]
    rows = []
    for count in counts:
        reached = mean(name_of(UNCERTAIN, count))
        if reached is None or begun is None or not known:
            continue
        votes, shares = (list(column) for column in zip((first, begun), *known, strict=True))
        needed = votes_needed(votes, shares, reached)
        told = "more than were tried" if needed is None else f"{needed:.0f}"
        rows.append({"uncertain votes": count, SHARE: f"{reached:.2f}", "random votes for as much": told})
    return rows


def claims_of(named: Named, counts: Sequence[int]) -> list[Claim]:
    """Return the claim that uncertain images teach more than random ones, at each number of votes."""
    pairs = [(name_of(UNCERTAIN, count), name_of(RANDOM, count)) for count in counts]
    return [claim_better(named, *pair) for pair in pairs if all(name in named for name in pair)]


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train on votes in both orders on every seed, and decide the claims."""
    first, counts = counts_of(order)
    rows = run_cells(order, progress, say, cells(order), measure)
    named = rows_by(rows, lambda row: name_of(row["method"], row[VOTES]))
    say_shares(named, say)
    curves = [{**row, "method": name} for name in ORDERS for row in rows if row.get("method") in (FIRST, name)]
    return ground_result(
        order,
        rows,
        named,
        {"method": "order", VOTES: "votes"},
        GroundPage(
            title="Which images to judge next",
            figure=plot_curves(curves, VOTES, "votes"),
            caption="Share of the headroom with Student's 95% interval over seeds. Both orders begin with the same "
            f"{first} votes.",
            claims=claims_of(named, counts),
            measures=("likes", "dislikes"),
            more_tables={"Votes that the order saves": savings(named, first, counts)},
            notes=(
                f"The first {first} labels are the same in both orders; a run on them measures how uncertain it is of "
                "the others, and labels go to the least certain ones, or to random ones. Then a new training begins "
                "from the base. The numbers of votes that are saved come from means, without an interval.",
            ),
        ),
    )
