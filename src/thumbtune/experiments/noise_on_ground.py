"""`noise` on a ground: the share of the headroom against the share of flipped labels, beside the person's own noise.

Settings are compared at equal shares of wrong labels, paired by seed. The clean training is not subtracted: that would
count the luck of a seed twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from thumbtune.experiments.criteria import CRITERION
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.grid_summary import values_of
from thumbtune.experiments.ground_cells import cells_by_seed, ground_cell
from thumbtune.experiments.ground_pages import GroundPage, ground_result, plot_curves, run_cells, say_shares
from thumbtune.experiments.ground_tables import SHARE, better, evidence, rows_by
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.methods import AUTO_WINDOW, LEAD, METHODS, PAPER
from thumbtune.experiments.person_sentences import labels_of
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.seed_statistics import change_text, is_above
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import GridCell

SEEDS = 5
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
AVERSE = "paper, loss-averse"
SETTINGS = {
    PAPER: METHODS[PAPER].settings,
    AVERSE: (*METHODS[PAPER].settings, "objective.utility=loss-averse"),
    LEAD: METHODS[LEAD].settings,
    AUTO_WINDOW: METHODS[AUTO_WINDOW].settings,
}
TESTED, KEPT = 0.2, 0.8  # with a fifth of wrong labels, four fifths of the clean gain
Named = Mapping[str, Sequence[Mapping[str, Any]]]


def name_of(method: str, share: float) -> str:
    """Return the name of a setting on the page."""
    return f"{method}, {share:.0%} wrong"


def cells(order: Order) -> list[GridCell]:
    """Return the cells, seed by seed; the shares of wrong labels replace the ground's own."""
    shares = SHARES[::2] if order.quick else SHARES

    def of_seed(seed: int) -> Iterator[GridCell]:
        for share, method in product(shares, order.chosen(SETTINGS)):
            yield ground_cell(
                order.ground,
                f"{method.replace(', ', '-')}-flipped-{share:g}",
                seed,
                SETTINGS[method],
                rating=Rating(flipped=share),
                columns={"method": method, "flipped": share},
            )

    return cells_by_seed(order, SEEDS, of_seed)


def claim_better_at_each(named: Named, a: str, b: str, shares: Sequence[float]) -> Claim:
    """Return the claim that one method is better than another at every share of wrong labels above 0."""
    pairs = {share: (named[name_of(a, share)], named[name_of(b, share)]) for share in shares if share}
    return Claim(
        f"{a} is better than {b} with wrong labels",
        f"at every share of wrong labels, {CRITERION}",
        verdict_of(*(better(*pair) for pair in pairs.values())),
        " ".join(f"At {share:.0%}: {evidence(*pair)}" for share, pair in pairs.items()),
    )


def claim_keeps(named: Named, method: str) -> Claim:
    """Return the claim that there is a gain, of which a fifth of wrong labels costs at most a fifth."""
    clean, wrong = (values_of(named[name_of(method, share)], SHARE) for share in (0.0, TESTED))
    seeds = sorted(clean.keys() & wrong.keys())
    gains = [clean[seed] for seed in seeds]
    spare = [wrong[seed] - KEPT * clean[seed] for seed in seeds]
    part = (
        f"{sum(wrong[seed] for seed in seeds) / sum(gains):.0%} of it is kept" if sum(gains) > 0 else "nothing to keep"
    )
    return Claim(
        f"{method} keeps {KEPT:.0%} of its gain with {TESTED:.0%} of wrong labels",
        f"its share of the headroom without wrong labels is above 0 beyond chance, and so is that with {TESTED:.0%} of "
        f"them, minus {KEPT:g} times that without.",
        verdict_of(is_above(gains), is_above(spare)),
        f"{change_text(gains)} without; {change_text(spare)}; {part}." if seeds else "no seed has both.",
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train at every share, plot the shares of the headroom, and decide the claims."""
    rows = run_cells(order, progress, say, cells(order))
    named = rows_by(rows, lambda row: name_of(row["method"], row["flipped"]))
    methods = order.chosen(SETTINGS)
    shares = sorted({row["flipped"] for of_name in named.values() for row in of_name})
    say_shares(named, say)
    pairs = [pair for pair in ((PAPER, AVERSE), (LEAD, PAPER), (AUTO_WINDOW, PAPER)) if set(pair) <= set(methods)]
    return ground_result(
        order,
        rows,
        named,
        {"method": "method", "flipped": "flipped"},
        GroundPage(
            title="What wrong labels cost",
            labels=f"{labels_of(GROUNDS[order.ground])}; then the share of labels that a row names is turned into its "
            "opposite",
            pairs=False,
            figure=plot_curves(
                [row for of_name in named.values() for row in of_name],
                "flipped",
                "flipped labels (%)",
                scale=lambda share: 100 * share,
            ),
            caption="Share of the headroom with Student's 95% interval over seeds.",
            claims=[
                *(claim_better_at_each(named, *pair, shares) for pair in pairs),
                *(claim_keeps(named, method) for method in methods),
            ],
            notes=("The flipped labels of a larger share include those of a smaller one.",),
        ),
    )
