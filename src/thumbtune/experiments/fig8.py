"""Figure 8 of the paper: four ablations around one recipe, on the bundled model and prompts that nobody rated.

As in the paper the thumbs come from comparisons in pairs: an image that won at least once is liked ("win +
intermediate") or only one that never lost ("win"). The person compares by a formula, so that all of it is simulated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from thumbtune.experiments import seeds as over
from thumbtune.experiments.canvas import panels
from thumbtune.experiments.cells import BROKE, Cell, Lab, rows_of
from thumbtune.experiments.demo import PEOPLE
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.results import Claim, Result, verdict_of
from thumbtune.experiments.summary import ABOUT_GAIN, above, differences, error_bars, for_people, means, said, values_of
from thumbtune.experiments.thumbs import Thumbs

SEEDS = 3
BOTH, WIN, WITHOUT = "win + intermediate", "win", "without intermediate"
BETA = 250  # near where `auto` settles; it would even out the other ablations, and so it stands still here
BETAS = (60, BETA, 1000, 5000)  # the paper's 2000 to 5000 are for the latents of SD 1.5
SHARES = (0.2, 0.5, 0.8, 1.0)
DIVERGED = 0.2  # a model that lost a fifth of its faithfulness no longer draws what it is asked


@dataclass(frozen=True)
class Ablation:
    """One panel: what is varied, and the cell of each value; the base recipe is the cell `base` of every panel."""

    title: str
    cells: Mapping[str, Cell]


def ablations(quick: bool) -> list[Ablation]:
    """The four panels, for seed 0; a quick one has two values in each."""
    settings = (*PEOPLE["line-art"].settings, f"objective.beta={BETA}")
    base = Cell(name="base", seed=0, thumbs=Thumbs(rule=BOTH), settings=settings)

    def varied(name: str, *settings: str) -> Cell:
        return replace(base, name=name, settings=(*base.settings, *settings))

    policies = {
        rule: replace(base, name=f"policy-{rule.replace(' ', '-')}", thumbs=Thumbs(rule=rule))
        for rule in (WIN, WITHOUT)
    }
    shares = {f"{s:g}": varied(f"share-{s:g}", f"train.liked_share={s}") for s in SHARES}
    utilities = {u: varied(f"utility-{u}", f"objective.utility={u}") for u in ("loss-averse", "risk-seeking")}
    betas = {f"{b}": varied(f"beta-{b}", f"objective.beta={b}") for b in BETAS}
    each = [
        Ablation("sampling policy", {WIN: policies[WIN], BOTH: base, WITHOUT: policies[WITHOUT]}),
        Ablation("positive ratio", shares | {"0.8": base}),
        Ablation(
            "utility",
            {
                "loss-averse": utilities["loss-averse"],
                "kahneman-tversky": base,
                "risk-seeking": utilities["risk-seeking"],
            },
        ),
        Ablation("beta", betas | {f"{BETA}": base}),
    ]
    if not quick:
        return each
    return [Ablation(a.title, {v: c for i, (v, c) in enumerate(a.cells.items()) if not i or c is base}) for a in each]


def table(each: Sequence[Ablation], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all panels: a cell that is in several stands in each, under what it shows there."""
    return [
        {"ablation": ablation.title, "value": value, **row}
        for ablation in each
        for value, cell in ablation.cells.items()
        for row in rows
        if row["cell"] == cell.name
    ]


@dataclass(frozen=True)
class Match:
    """One value of an ablation beside another, on the seeds on which both were trained to the end.

    more:  gained with the one than with the other, seed by seed
    kept:  change of faithfulness with the one, less that with the other
    seeds: how many there are of each
    broke: the first of the two whose training broke off in every seed
    """

    one: str
    other: str
    more: Sequence[float]
    kept: Sequence[float]
    seeds: int
    broke: str | None

    @property
    def conditions(self) -> tuple[bool | None, ...]:
        """What must be true for the one to be better: that a training broke off is a result too."""
        if self.broke is not None:
            return (self.broke == self.other,)
        return above(self.more), above([-change for change in self.kept]) is not True

    def __str__(self) -> str:
        if self.broke is not None:
            return f"{self.broke} broke off in every seed"
        left = "" if len(self.more) == self.seeds else f", on the {len(self.more)} of {self.seeds} seeds that are left"
        return f"{said(self.more)} against {self.other} (of faithfulness {said(self.kept)}{left})"


def against(rows: Sequence[Mapping[str, Any]], ablation: str, one: str, other: str) -> Match:
    """One value beside another."""
    each = [[row for row in rows if row["ablation"] == ablation and row["value"] == value] for value in (one, other)]
    statuses = {value: [row["status"] for row in here] for value, here in zip((one, other), each, strict=True)}
    broke = [value for value, told in statuses.items() if told and all(word.startswith(BROKE) for word in told)]
    more, kept = (differences(*(values_of(here, name) for here in each)) for name in ("gain", "faithfulness_change"))
    return Match(one, other, more, kept, max(map(len, each)), next(iter(broke), None))


def best_of(rows: Sequence[Mapping[str, Any]], ablation: str, best: str, says: str) -> Claim:
    """A claim that one value gains more than each other, and not at the cost of what was asked for."""
    values = list(dict.fromkeys(row["value"] for row in rows if row["ablation"] == ablation))
    matches = [against(rows, ablation, best, value) for value in values if value != best]
    return Claim(
        says,
        f"the gain with {best} is above that with each other value, beyond chance, and it is not shown to lose more "
        "faithfulness; a value whose training broke off in every seed is beaten by one that was trained.",
        verdict_of(*(condition for match in matches for condition in match.conditions)),
        "; ".join(map(str, matches)) + ".",
    )


def diverges(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """The paper's label "diverge" at the lowest ratio."""
    here = [row for row in rows if row["ablation"] == "positive ratio" and row["value"] == "0.2"]
    lost = [row["faithfulness_change"] / row["faithfulness_before"] for row in here if row["status"] == "trained"]
    broke = sum(row["status"] != "trained" for row in here)
    bad = broke + sum(change < -DIVERGED for change in lost)
    return Claim(
        "With a positive ratio of 0.2 training diverges",
        f"in every seed training breaks off, or faithfulness falls by more than {DIVERGED:.0%}; in none: it does not.",
        verdict_of(True if here and bad == len(here) else False if not bad else None),
        f"{broke} of {len(here)} broke off; change of faithfulness {said(lost, '+.1%')}.",
    )


def rises(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """The paper's beta panel."""
    values = list(dict.fromkeys(row["value"] for row in rows if row["ablation"] == "beta"))
    gains = [values_of(rows, "gain", ablation="beta", value=value) for value in values]
    seeds = sorted(set.intersection(*(set(each) for each in gains)))
    steps = [[b[seed] - a[seed] for seed in seeds] for a, b in pairwise(gains)]
    less = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairwise(steps)]
    told = [f"{said(each)} from {a} to {b}" for each, (a, b) in zip(steps, pairwise(values), strict=True)]
    asked = {row["seed"] for row in rows if row["ablation"] == "beta"}
    left = "" if len(seeds) == len(asked) else f", on the {len(seeds)} of {len(asked)} seeds that are left"
    return Claim(
        "The result rises with beta, less and less",
        "each beta gains more than the one below it, and each such rise is smaller than the one before, beyond chance.",
        verdict_of(*(above(each) for each in [*steps, *less])),
        f"{'; '.join(told)}; each rise less the next: {'; '.join(map(said, less)) or 'none'}{left}.",
    )


def _in_lines(value: str) -> str:
    """A value as a tick has room for it."""
    return value.replace(" + ", "\n+ ").replace("without ", "without\n").replace("-", "-\n")


def draw(each: Sequence[Ablation], summary: Sequence[Mapping[str, Any]]) -> Any:
    """Four panels of gains with their intervals."""
    figure, axes = panels(2, 2, (3.4, 2.6), sharey=True)
    for axis, ablation in zip(axes, each, strict=True):
        rows = [row for row in summary if row["ablation"] == ablation.title]
        error_bars(axis, range(len(rows)), rows)
        axis.set(title=ablation.title, xticks=range(len(rows)), xlim=(-0.5, len(rows) - 0.5))
        axis.set_xticklabels([_in_lines(row["value"]) for row in rows])
    axes[0].set_ylabel("gain in taste")
    axes[2].set_ylabel("gain in taste")
    return figure


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Every cell of every panel once, seed by seed, so that an early stop leaves whole seeds."""
    each = ablations(order.quick)
    cells = {cell.name: cell for ablation in each for cell in ablation.cells.values()}
    wanted = [replace(cell, seed=seed) for seed in order.demo_seeds(SEEDS) for cell in cells.values()]
    rows = table(each, rows_of(Lab(order, progress, say), wanted))
    by = ("ablation", "value")
    summary = means(rows, by)
    return Result(
        title="Figure 8: four ablations",
        about="The recipe of the line-art demo, with one thing varied at a time. Thumbs come from a simulated person's "
        f"comparisons of images in pairs, as the paper's data did. {ABOUT_GAIN.capitalize()}.",
        figure=draw(each, summary),
        caption="Gain on prompts that nobody rated, with Student's 95% interval over seeds. A ring: faithfulness fell "
        "by more than 5%.",
        rows=rows,
        shown_rows=for_people(summary, by),
        claims=[
            best_of(rows, "sampling policy", BOTH, "Images that sometimes won should count as liked"),
            best_of(rows, "positive ratio", "0.8", "A positive ratio of 0.8 is best"),
            diverges(rows),
            best_of(rows, "utility", "kahneman-tversky", "The Kahneman-Tversky utility is best"),
            rises(rows),
        ],
        notes=(
            "The paper's measure is the mean PickScore on HPS v2 prompts; ours is the formula of the person who rated.",
            "The paper's betas are 2000 to 5000 for SD 1.5; the bundled model's latents ask for others.",
            over.UNBOUNDED,
        ),
    )
