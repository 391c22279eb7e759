"""How many thumbs are enough: the gain against their number, from 20 to 2,000, at one budget of training.

The paper trained on 928,068 images and does not say how few would do.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.experiments import demo
from thumbtune.experiments import seeds as over
from thumbtune.experiments.canvas import panels
from thumbtune.experiments.cells import PER_PROMPT, Cell, Lab, rows_of
from thumbtune.experiments.demo import PEOPLE
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.results import Claim, Result, verdict_of
from thumbtune.experiments.summary import ABOUT_GAIN, above, differences, error_bars, for_people, means, said, values_of
from thumbtune.experiments.thumbs import Thumbs

SEEDS = 3
COUNTS = (20, 50, 100, 200, 500, 1000, 2000)
QUICK_COUNTS = (8, 16)
ASKED = 100  # an evening of rating


def cells(order: Order) -> list[Cell]:
    """Seed by seed; a smaller set is the beginning of a larger one, of all concepts in turn."""
    concepts = len(demo.concepts()["rated"])
    return [
        Cell(
            name=f"likes-{count:04d}",
            seed=seed,
            thumbs=Thumbs(count=count),
            per_prompt=max(PER_PROMPT, math.ceil(count / concepts)),
            settings=PEOPLE["line-art"].settings,
            columns={"thumbs": count},
        )
        for seed in order.demo_seeds(SEEDS)
        for count in (QUICK_COUNTS if order.quick else COUNTS)
    ]


def enough(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """Not the paper's: a question of ours, in the form of a claim that can fail."""
    counts = sorted({row["thumbs"] for row in rows})
    gains = {count: values_of(rows, "gain", thumbs=count) for count in counts}
    helped = [count for count in counts if above(list(gains[count].values()))]
    more = {count: differences(gains[counts[-1]], gains[count]) for count in counts[:-1]}
    short = [count for count in counts[:-1] if above(more[count])]
    fewest = f"from {helped[0]} thumbs on" if helped else "at no number of thumbs"
    last = f"; beyond {short[-1]} thumbs more of them are not shown to gain more" if short else ""
    return Claim(
        f"{ASKED} thumbs are enough to gain (a question of ours, not a claim of the paper)",
        f"with the fewest thumbs that are at least {ASKED} the gain is above zero, beyond chance.",
        verdict_of(
            *(above(list(gains[count].values())) for count in [c for c in counts if c >= ASKED][:1] or counts[-1:])
        ),
        "; ".join(f"{said(list(g.values()))} with {count}" for count, g in gains.items())
        + f". Above zero {fewest}{last}.",
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train on every number of thumbs, draw, decide."""
    rows = rows_of(Lab(order, progress, say), cells(order))
    by = ("thumbs",)
    summary = means(rows, by)
    figure, (axis,) = panels(1, 1, (4.4, 3.2))
    error_bars(axis, [row["thumbs"] for row in summary], summary)
    axis.set(xscale="log", xlabel="thumbs", ylabel="gain in taste")
    axis.set_xticks([row["thumbs"] for row in summary], [f"{row['thumbs']:,}" for row in summary])
    axis.minorticks_off()
    return Result(
        title="How many thumbs are enough",
        about="The line-art demo with more and fewer thumbs, at the same number of steps; a fifth of the prompts is "
        f"held out of each. {ABOUT_GAIN.capitalize()}.",
        figure=figure,
        caption="Gain with Student's 95% interval over seeds. A ring: faithfulness fell by more than 5%.",
        rows=rows,
        shown_rows=for_people(summary, by),
        claims=[enough(rows)],
        notes=(
            "About one image in five is liked: `likes` and `dislikes` in table.csv say what each set holds, held-out "
            "prompts among them.",
            over.UNBOUNDED,
        ),
    )
