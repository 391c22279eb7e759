"""`raters`: two people of opposite tastes rate the same images; one LoRA of both labels against one LoRA each."""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.grid_summary import values_of
from thumbtune.experiments.ground_cells import MARKS, ground_seeds
from thumbtune.experiments.ground_pages import SEEDS_CAPTION, GroundPage, ground_result, plot_shares, say_shares
from thumbtune.experiments.ground_tables import SHARE, claim_better, rows_by, with_shares
from thumbtune.experiments.person_sentences import person_of
from thumbtune.experiments.raters_cells import (
    EACH,
    MAJORITY,
    ONE_EACH,
    PER_VOTE,
    combined,
    judged_by_both,
    of_each,
    people_of,
    rater_cells,
)
from thumbtune.experiments.result_page import Claim, Result
from thumbtune.experiments.seed_statistics import mean_text
from thumbtune.experiments.training_grid import Grid, run_grid

SEEDS = 5
COLUMN = "method"
Named = Mapping[str, Sequence[Mapping[str, Any]]]
BOTH_NOTE = (
    f"Both people rate the same {EACH} images. `{MAJORITY}` drops an image on which they differ, and `{PER_VOTE}` "
    f"keeps both votes. `{ONE_EACH}` trains a LoRA for each person, so it has two trainings. Every number is the mean "
    "over both people, each judged by the style that they want; the base model is asked for that style too. In "
    f"`{ONE_EACH}` each judges the LoRA of their own labels."
)


def claims_of(named: Named) -> list[Claim]:
    """Return the claims: a LoRA each is better than one of both, however the labels are pooled."""
    return [claim_better(named, ONE_EACH, pooled) for pooled in (MAJORITY, PER_VOTE)]


def table_of_each(rows: Sequence[Mapping[str, Any]], ground: str) -> list[dict[str, str]]:
    """Return the share of each person's own headroom, for each setting."""
    people = people_of(ground)
    shares = {person.name: with_shares(of_each(rows, place)) for place, person in enumerate(people)}
    names = dict.fromkeys(row[COLUMN] for of_person in shares.values() for row in of_person)
    return [
        {COLUMN: name}
        | {
            f"{SHARE}, {person}": mean_text(list(values_of(of_person, SHARE, method=name).values()), ".2f")
            for person, of_person in shares.items()
        }
        for name in names
        if name not in MARKS
    ]


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train on pooled and on own labels on every seed, and decide the claims."""
    people_of(order.ground)
    cells = [cell for seed in ground_seeds(order, SEEDS) for cell in rater_cells(order.ground, seed)]
    measured = run_grid(Grid(order, progress, say), cells, judged_by_both)
    rows = with_shares(combined(measured))
    named = rows_by(rows, lambda row: row[COLUMN])
    say_shares(named, say)
    second = person_of(people_of(order.ground)[1])
    return ground_result(
        order,
        rows,
        named,
        {COLUMN: "labels"},
        GroundPage(
            title="Two raters of opposite tastes",
            figure=plot_shares(named),
            caption=SEEDS_CAPTION,
            claims=claims_of(named),
            measures=("likes", "dislikes"),
            more_tables={"Each person": table_of_each(measured, order.ground)},
            notes=(f"The second person is simulated too: {second}", BOTH_NOTE),
        ),
    )
