"""The number of labels that is enough: the gain against 20 to 2,000 labels, at one budget of training.

The paper trained on 928,068 images and does not say how the result depends on that number.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.experiments import demo
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.figures import panels
from thumbtune.experiments.grid_summary import (
    GAIN_NOTE,
    differences,
    held_out_note,
    means,
    page_rows_of,
    plot_gains,
    values_of,
)
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.seed_statistics import UNBOUNDED_NOTE, change_text, is_above
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import DEMO_SETTINGS, PER_PROMPT, Grid, GridCell, run_grid

SEEDS = 3
COUNTS = (20, 50, 100, 200, 500, 1000, 2000)
QUICK_COUNTS = (8, 16)
ENOUGH_LABELS = 100  # an evening of rating
COLUMN = "thumbs"  # the stored name of this column in all rows; pages show "labels"


def cells(order: Order) -> list[GridCell]:
    """Return the cells, seed by seed; a smaller set is the beginning of a larger one, over all concepts in turn."""
    concepts = len(demo.concepts()["rated"])
    return [
        GridCell(
            name=f"likes-{count:04d}",
            seed=seed,
            rating=Rating(count=count),
            per_prompt=max(PER_PROMPT, math.ceil(count / concepts)),
            settings=DEMO_SETTINGS["line-art"],
            columns={COLUMN: count},
        )
        for seed in order.demo_seeds(SEEDS)
        for count in (QUICK_COUNTS if order.quick else COUNTS)
    ]


def claim_enough(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """Return a question of ours, in the form of a claim that can fail."""
    counts = sorted({row[COLUMN] for row in rows})
    gains = {count: list(values_of(rows, "gain", **{COLUMN: count}).values()) for count in counts}
    helpful = [count for count in counts if is_above(gains[count])]
    largest = values_of(rows, "gain", **{COLUMN: counts[-1]})
    missing = {c: differences(largest, values_of(rows, "gain", **{COLUMN: c})) for c in counts[:-1]}
    too_few = [count for count in counts[:-1] if is_above(missing[count])]
    fewest = f"from {helpful[0]} labels on" if helpful else "at no number of labels"
    last = f"; with more than {too_few[-1]} labels the gain is not shown to be larger" if too_few else ""
    tested = [count for count in counts if count >= ENOUGH_LABELS][:1] or counts[-1:]
    return Claim(
        f"{ENOUGH_LABELS} labels are enough to gain (a question of ours, not a claim of the paper)",
        f"the gain with the smallest set of at least {ENOUGH_LABELS} labels is above zero, beyond chance.",
        verdict_of(*(is_above(gains[count]) for count in tested)),
        "; ".join(f"{change_text(gain)} with {count}" for count, gain in gains.items())
        + f". Above zero {fewest}{last}.",
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train on every number of labels, plot the gains, and decide the claim."""
    if order.ground:
        from thumbtune.experiments import few_on_ground

        return few_on_ground.make(order, progress, say)
    rows = run_grid(Grid(order, progress, say), cells(order))
    summary = means(rows, (COLUMN,))
    figure, (axis,) = panels(1, 1, (4.4, 3.2))
    plot_gains(axis, [row[COLUMN] for row in summary], summary)
    axis.set(xscale="log", xlabel="labels", ylabel="gain in taste")
    axis.set_xticks([row[COLUMN] for row in summary], [f"{row[COLUMN]:,}" for row in summary])
    axis.minorticks_off()
    return Result(
        title="How many labels are enough",
        about="The line-art demo with more and fewer labels, at the same number of steps. A fifth of the prompts of "
        f"each set is held out. {GAIN_NOTE}",
        figure=figure,
        caption="Gain with Student's 95% interval over seeds. A ring: faithfulness fell by more than 5%.",
        rows=rows,
        page_rows=page_rows_of(summary, {COLUMN: "labels"}),
        claims=[claim_enough(rows)],
        notes=(
            "About one image in five is liked. In table.csv, `likes` and `dislikes` are the numbers of each set, with "
            "its held-out prompts.",
            UNBOUNDED_NOTE,
            held_out_note(rows),
        ),
    )
