"""Figure 8 of the paper: four ablations around one recipe, on the bundled model and prompts without labels.

As in the paper, labels come from comparisons in pairs: an image is liked if it won at least once ("win +
intermediate"), or only if it never lost ("win"). The person is simulated, and compares by a formula.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

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
from thumbtune.experiments.training_grid import DEMO_SETTINGS, DIVERGED_STATUS, Grid, GridCell, run_grid

SEEDS = 3
BOTH, WIN, WITHOUT = "win + intermediate", "win", "without intermediate"
BETA = 250  # near the result of `auto`, which is fixed here because it would reduce the effect of the other ablations
BETAS = (60, BETA, 1000, 5000)  # the paper's 2000 to 5000 are for the latents of SD 1.5
SHARES = (0.2, 0.5, 0.8, 1.0)
DIVERGENCE_LOSS = 0.2  # the share of faithfulness whose loss counts as divergence


@dataclass(frozen=True)
class Ablation:
    """One panel: its title, and the cell of each value; the cell `base` is in every panel."""

    title: str
    cells: Mapping[str, GridCell]


def ablations(quick: bool) -> list[Ablation]:
    """Return the four panels, for seed 0; a quick order has two values in each."""
    settings = (*DEMO_SETTINGS["line-art"], f"objective.beta={BETA}")
    base = GridCell(name="base", seed=0, rating=Rating(rule=BOTH), settings=settings)

    def varied(name: str, *settings: str) -> GridCell:
        return replace(base, name=name, settings=(*base.settings, *settings))

    policies = {
        rule: replace(base, name=f"policy-{rule.replace(' ', '-')}", rating=Rating(rule=rule))
        for rule in (WIN, WITHOUT)
    }
    shares = {f"{s:g}": varied(f"share-{s:g}", f"train.liked_share={s}") for s in SHARES}
    utilities = {u: varied(f"utility-{u}", f"objective.utility={u}") for u in ("loss-averse", "risk-seeking")}
    betas = {f"{b}": varied(f"beta-{b}", f"objective.beta={b}") for b in BETAS}
    full = [
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
        return full
    return [Ablation(a.title, {v: c for i, (v, c) in enumerate(a.cells.items()) if not i or c is base}) for a in full]


def ablation_rows(varied: Sequence[Ablation], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of all panels; a cell in several panels has a row in each, under its value there."""
    return [
        {"ablation": ablation.title, "value": value, **row}
        for ablation in varied
        for value, cell in ablation.cells.items()
        for row in rows
        if row["cell"] == cell.name
    ]


@dataclass(frozen=True)
class Comparison:
    """One value of an ablation against another, on the seeds on which both trainings finished.

    gain:         gain with `value`, minus gain with `other`, seed by seed
    faithfulness: change of faithfulness with `value`, minus that with `other`
    seeds:        the number of seeds of each
    diverged:     the first of the two whose training diverged in every seed
    """

    value: str
    other: str
    gain: Sequence[float]
    faithfulness: Sequence[float]
    seeds: int
    diverged: str | None

    @property
    def conditions(self) -> tuple[bool | None, ...]:
        """Return the conditions under which `value` is better; a training that diverged is a result too."""
        if self.diverged is not None:
            return (self.diverged == self.other,)
        return is_above(self.gain), is_above([-change for change in self.faithfulness]) is not True

    def __str__(self) -> str:
        if self.diverged is not None:
            return f"{self.diverged} diverged in every seed"
        left = _remaining(len(self.gain), self.seeds)
        return f"{change_text(self.gain)} against {self.other} (faithfulness {change_text(self.faithfulness)}{left})"


def _remaining(used: int, seeds: int) -> str:
    return "" if used == seeds else f", on the remaining {used} of {seeds} seeds"


def compare(rows: Sequence[Mapping[str, Any]], ablation: str, one: str, other: str) -> Comparison:
    """Return the comparison of one value of an ablation with another."""
    chosen = {
        value: [row for row in rows if row["ablation"] == ablation and row["value"] == value] for value in (one, other)
    }
    diverged = [
        value
        for value, of_value in chosen.items()
        if of_value and all(row["status"].startswith(DIVERGED_STATUS) for row in of_value)
    ]
    gain, faithfulness = (
        differences(values_of(chosen[one], name), values_of(chosen[other], name))
        for name in ("gain", "faithfulness_change")
    )
    return Comparison(one, other, gain, faithfulness, max(map(len, chosen.values())), next(iter(diverged), None))


def claim_best(rows: Sequence[Mapping[str, Any]], ablation: str, best: str, statement: str) -> Claim:
    """Return the claim that one value gains more than each other, and not at the cost of faithfulness."""
    values = list(dict.fromkeys(row["value"] for row in rows if row["ablation"] == ablation))
    comparisons = [compare(rows, ablation, best, value) for value in values if value != best]
    return Claim(
        statement,
        f"the gain with {best} is larger than with each other value, beyond chance, and {best} is not shown to lose "
        "more faithfulness. A value whose training diverged in every seed loses to one that was trained.",
        verdict_of(*(condition for comparison in comparisons for condition in comparison.conditions)),
        "; ".join(map(str, comparisons)) + ".",
    )


def claim_diverges(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """Return the paper's claim that training diverges at the lowest ratio."""
    chosen = [row for row in rows if row["ablation"] == "positive ratio" and row["value"] == "0.2"]
    lost = [row["faithfulness_change"] / row["faithfulness_before"] for row in chosen if row["status"] == "trained"]
    stopped = sum(row["status"] != "trained" for row in chosen)
    bad = stopped + sum(change < -DIVERGENCE_LOSS for change in lost)
    return Claim(
        "With a positive ratio of 0.2 training diverges",
        f"in every seed training stops early, or faithfulness falls by more than {DIVERGENCE_LOSS:.0%}. The claim "
        "fails if neither happens in any seed.",
        verdict_of(True if chosen and bad == len(chosen) else False if not bad else None),
        f"{stopped} of {len(chosen)} trainings stopped; change of faithfulness {change_text(lost, '+.1%')}.",
    )


def claim_rises(rows: Sequence[Mapping[str, Any]]) -> Claim:
    """Return the claim of the paper's beta panel."""
    values = list(dict.fromkeys(row["value"] for row in rows if row["ablation"] == "beta"))
    gains = [values_of(rows, "gain", ablation="beta", value=value) for value in values]
    seeds = sorted(set.intersection(*(set(of_seeds) for of_seeds in gains)))
    rises = [[b[seed] - a[seed] for seed in seeds] for a, b in pairwise(gains)]
    slowing = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairwise(rises)]
    texts = [f"{change_text(rise)} from {a} to {b}" for rise, (a, b) in zip(rises, pairwise(values), strict=True)]
    left = _remaining(len(seeds), len({row["seed"] for row in rows if row["ablation"] == "beta"}))
    return Claim(
        "The gain rises with beta, by less and less",
        "each beta gains more than the one below it, and each rise is smaller than the rise before, beyond chance.",
        verdict_of(*(is_above(values) for values in [*rises, *slowing])),
        f"{'; '.join(texts)}; each rise minus the next: {'; '.join(map(change_text, slowing)) or 'none'}{left}.",
    )


def _in_lines(value: str) -> str:
    """Return a value broken into lines that fit under a tick."""
    return value.replace(" + ", "\n+ ").replace("without ", "without\n").replace("-", "-\n")


def plot(varied: Sequence[Ablation], summary: Sequence[Mapping[str, Any]]) -> Any:
    """Plot four panels of gains with their intervals."""
    figure, axes = panels(2, 2, (3.4, 2.6), sharey=True)
    for axis, ablation in zip(axes, varied, strict=True):
        rows = [row for row in summary if row["ablation"] == ablation.title]
        plot_gains(axis, range(len(rows)), rows)
        axis.set(title=ablation.title, xticks=range(len(rows)), xlim=(-0.5, len(rows) - 0.5))
        axis.set_xticklabels([_in_lines(row["value"]) for row in rows])
    axes[0].set_ylabel("gain in taste")
    axes[2].set_ylabel("gain in taste")
    return figure


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train every cell of every panel once, seed by seed, so that an early stop leaves whole seeds."""
    if order.ground:
        from thumbtune.experiments import fig8_on_ground

        return fig8_on_ground.make(order, progress, say)
    varied = ablations(order.quick)
    cells = {cell.name: cell for ablation in varied for cell in ablation.cells.values()}
    wanted = [replace(cell, seed=seed) for seed in order.demo_seeds(SEEDS) for cell in cells.values()]
    rows = ablation_rows(varied, run_grid(Grid(order, progress, say), wanted))
    by = ("ablation", "value")
    summary = means(rows, by)
    return Result(
        title="Figure 8: four ablations",
        about="The recipe of the line-art demo with one change at a time. Labels come from a simulated person's "
        f"comparisons of images in pairs, as in the paper's data. {GAIN_NOTE}",
        figure=plot(varied, summary),
        caption="Gain with Student's 95% interval over seeds. A ring: faithfulness fell by more than 5%.",
        rows=rows,
        page_rows=page_rows_of(summary, by),
        claims=[
            claim_best(rows, "sampling policy", BOTH, "Images that won at least once should count as liked"),
            claim_best(rows, "positive ratio", "0.8", "A positive ratio of 0.8 is best"),
            claim_diverges(rows),
            claim_best(rows, "utility", "kahneman-tversky", "The Kahneman-Tversky utility is best"),
            claim_rises(rows),
        ],
        notes=(
            "The paper measures the mean PickScore on HPS v2 prompts; we measure the simulated person's own formula.",
            "The paper's betas are 2000 to 5000 for SD 1.5; the bundled model's latents need other values.",
            UNBOUNDED_NOTE,
            held_out_note(rows),
        ),
    )
