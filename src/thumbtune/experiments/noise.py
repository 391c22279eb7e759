"""What wrong thumbs cost: the gain against the share of thumbs that say the opposite, for two utilities.

The paper explains Kahneman-Tversky's success by its slope, which fades at both ends, so that images whose thumbs
contradict what was learnt pull less (section 4.2). A concave utility pulls hardest at just those.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.experiments import seeds as over
from thumbtune.experiments.canvas import COLOURS, panels
from thumbtune.experiments.cells import Cell, Lab, rows_of
from thumbtune.experiments.demo import PEOPLE
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.results import Claim, Result, verdict_of
from thumbtune.experiments.summary import ABOUT_GAIN, above, differences, error_bars, for_people, means, said, values_of
from thumbtune.experiments.thumbs import Thumbs

SEEDS = 3
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
KT, AVERSE = "kahneman-tversky", "loss-averse"


def cells(order: Order) -> list[Cell]:
    """Seed by seed, both utilities at every share."""
    return [
        Cell(
            name=f"{utility}-flipped-{share:g}",
            seed=seed,
            thumbs=Thumbs(flipped=share),
            settings=(*PEOPLE["line-art"].settings, f"objective.utility={utility}"),
            columns={"utility": utility, "flipped": share},
        )
        for seed in order.demo_seeds(SEEDS)
        for share in (SHARES[::4] if order.quick else SHARES)
        for utility in (KT, AVERSE)
    ]


def lost(rows: Sequence[Mapping[str, Any]], utility: str, share: float) -> dict[int, float]:
    """seed -> how much gain a share of wrong thumbs takes away."""
    clean = values_of(rows, "gain", utility=utility, flipped=0.0)
    noisy = values_of(rows, "gain", utility=utility, flipped=share)
    return {seed: clean[seed] - noisy[seed] for seed in sorted(clean.keys() & noisy.keys())}


def robust(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """The paper's explanation as a measurement."""
    shares = sorted({row["flipped"] for row in rows} - {0.0})
    more = {s: differences(lost(rows, AVERSE, s), lost(rows, KT, s)) for s in shares}
    return Claim(
        "The Kahneman-Tversky utility loses less to wrong thumbs than the loss-averse one",
        "at every share of wrong thumbs it loses less of its gain, beyond chance.",
        verdict_of(*(above(each) for each in more.values())),
        "lost by loss-averse less lost by KT: " + "; ".join(f"{said(v)} at {s:.0%}" for s, v in more.items()) + ".",
    )


def still_gains(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """How far the whole can be trusted."""
    shares = sorted({row["flipped"] for row in rows})
    gains = {s: list(values_of(rows, "gain", utility=KT, flipped=s).values()) for s in shares}
    return Claim(
        "Diffusion-KTO learns from noisy thumbs",
        "with the Kahneman-Tversky utility the gain is above zero at every share, beyond chance.",
        verdict_of(*(above(each) for each in gains.values())),
        "; ".join(f"{said(v)} at {s:.0%}" for s, v in gains.items()) + ".",
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train at every share, draw, decide."""
    rows = rows_of(Lab(order, progress, say), cells(order))
    by = ("utility", "flipped")
    summary = means(rows, by)
    figure, (axis,) = panels(1, 1, (4.4, 3.2))
    for shift, utility in ((-0.4, KT), (0.4, AVERSE)):
        mine = [row for row in summary if row["utility"] == utility]
        error_bars(axis, [100 * row["flipped"] + shift for row in mine], mine, COLOURS[utility], utility)
    axis.set(xlabel="thumbs that say the opposite (%)", ylabel="gain in taste")
    axis.legend()
    return Result(
        title="What wrong thumbs cost",
        about="The line-art demo with a share of its thumbs turned over at random, the same ones for both utilities. "
        f"{ABOUT_GAIN.capitalize()}.",
        figure=figure,
        caption="Gain with Student's 95% interval over seeds. A ring: faithfulness fell by more than 5%.",
        rows=rows,
        shown_rows=for_people(summary, by),
        claims=[robust(rows), still_gains(rows)],
        notes=("Wrong thumbs of a larger share include those of a smaller one.", over.UNBOUNDED),
    )
