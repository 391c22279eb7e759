"""Pages of trainings on a ground: their figures, and the sentences on person, budget, judge, seeds and criterion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from thumbtune.evaluation.scorers.style_scorers import CLIP
from thumbtune.experiments import grounds
from thumbtune.experiments.criteria import CRITERION
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.figures import BLUE, GREEN, INK, ORANGE, PALE, PURPLE, RED, SKY, panels
from thumbtune.experiments.grid_summary import means, page_rows_of, values_of
from thumbtune.experiments.ground_cells import ASKED, BASE, Measure, measured
from thumbtune.experiments.ground_tables import MEASURES, SHARE, Columns, pairs_table, plain, separation_of, with_shares
from thumbtune.experiments.grounds import GROUNDS, POOL
from thumbtune.experiments.methods import METHODS
from thumbtune.experiments.person_sentences import person_of
from thumbtune.experiments.result_page import Claim, Result
from thumbtune.experiments.seed_statistics import ONE_BY_ONE_NOTE, UNBOUNDED_NOTE, mean_text
from thumbtune.experiments.training_grid import QUICK, ROW, Grid, GridCell, run_grid
from thumbtune.runs.recipe import read_recipe

READING_NOTE = (
    "A share of the headroom is 0 for the base model and 1 for the base model that is asked for the style in its "
    "prompt. The gap is the mean log-odds of the rater's network minus that of the judge's: where it grows beyond the "
    "gaps of the marks, a method is fitted to the rater."
)
SEEDS_CAPTION = "A point for each seed and a bar for their mean; 0 is the base model, 1 the base model that is asked."
PAIRS_NOTE = (
    "So is every pair: of pairs of equal methods, up to one in twenty looks better or worse. Some verdicts in a long "
    "table of pairs arise by chance."
)
DIVERGED_NOTE = "One whose training diverged in every seed loses to one that was trained."
COLOURS_IN_ORDER = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, INK)


def run_cells(
    order: Order, progress: Progress, say: Say, cells: Sequence[GridCell], measure: Measure = measured
) -> list[dict[str, Any]]:
    """Train the cells that have no row yet; return all rows with their shares of the headroom."""
    lab = Grid(order, progress, say)
    rows = with_shares(run_grid(lab, cells, measure))
    if others := _others(lab, cells):
        say(f"The page leaves out rows that the folder has of other methods or seeds: {', '.join(others)}.")
    return rows


def _others(lab: Grid, cells: Sequence[GridCell]) -> list[str]:
    """Return the names of the cells that the folder has rows of, and that are not among these."""
    taken = {lab.run_of(cell) for cell in cells}
    every = {row.parent for run in taken for row in run.parent.glob(f"*/{ROW}")}
    return sorted(run.name for run in every - taken)


def say_shares(named: Mapping[str, Sequence[Columns]], say: Say) -> None:
    """Print the F between settings, and the mean share of each."""
    if found := separation_of(named):
        say(f"Between settings: {found}.")
    for name, rows in named.items():
        shares = list(values_of(rows, SHARE).values())
        say(f"{name}: {f'{np.mean(shares):.2f} of the headroom' if shares else 'no result'}")


@dataclass(frozen=True, kw_only=True)
class GroundPage:
    """The parts of a page that are an experiment's own, beside those of every ground.

    labels:   how the person labels; "": as their ground says
    measures: further columns of the table
    pairs:    whether the page has a table of every pair of settings
    """

    title: str
    figure: Any
    caption: str
    claims: Sequence[Claim]
    labels: str = ""
    measures: tuple[str, ...] = ()
    more_tables: Mapping[str, Sequence[Columns]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pairs: bool = True


def ground_result(
    order: Order,
    rows: Sequence[Columns],
    named: Mapping[str, Sequence[Columns]],
    by: Mapping[str, str],
    page: GroundPage,
) -> Result:
    """Return the result of an experiment on a ground.

    Args:
        named: the rows of each setting.
        by: the columns that make a setting, and the name that the page shows for each.
    """
    measures = (*MEASURES, *page.measures)
    summary = means(plain(list(chain(*named.values()))), tuple(by), measures)
    pairs = {"Every pair": pairs_table(named, " and ".join(by.values()))} if page.pairs else {}
    by_chance = (ONE_BY_ONE_NOTE, *([PAIRS_NOTE] if page.pairs else ()))
    return Result(
        title=f"{page.title}, on the ground {GROUNDS[order.ground].title}",
        about=f"{about_ground(order, page.labels)} {seeds_note(rows)}\n\nA setting is better than another one if "
        f"{CRITERION} {DIVERGED_NOTE}",
        figure=page.figure,
        caption=page.caption,
        rows=plain(rows),
        page_rows=page_rows_of(summary, by, measures, "not measured"),
        claims=page.claims,
        more_tables={**pairs, **page.more_tables},
        notes=(marks_note(rows), READING_NOTE, cut_off_note(named, rows), *page.notes, *by_chance, UNBOUNDED_NOTE),
    )


def plot_shares(named: Mapping[str, Sequence[Columns]]) -> Any:
    """Plot a line for each setting: the share of the headroom of each seed, and a bar for their mean."""
    figure, (axis,) = panels(1, 1, (5.2, 1 + 0.26 * len(named)))
    for y, rows in enumerate(named.values()):
        shares = list(values_of(rows, SHARE).values())
        axis.plot(shares, [y] * len(shares), "o", color=BLUE, markersize=3.5, alpha=0.6, markeredgewidth=0)
        if shares:
            axis.plot(np.mean(shares), y, "|", color=BLUE, markersize=12)
    for mark in (0, 1):
        axis.axvline(mark, color=PALE, linewidth=1, zorder=0)
    axis.set(xlabel=SHARE, yticks=range(len(named)), ylim=(len(named) - 0.5, -0.5))
    axis.set_yticklabels(list(named))
    return figure


def plot_curves(
    rows: Sequence[Columns], x: str, label: str, scale: Callable[[float], float] = float, logarithmic: bool = False
) -> Any:
    """Plot the share of the headroom against a column, a line with intervals for each method."""
    figure, (axis,) = panels(1, 1, (4.4, 3.2))
    for colour, method in zip(COLOURS_IN_ORDER, dict.fromkeys(row["method"] for row in rows), strict=False):
        summary = means(plain([row for row in rows if row["method"] == method]), (x,), (SHARE,))
        shown = [row for row in summary if row.get(SHARE) is not None]
        places = [scale(row[x]) for row in shown]
        axis.plot(places, [row[SHARE] for row in shown], "o-", color=colour, markersize=5, linewidth=1, label=method)
        for place, row in zip(places, shown, strict=True):
            if row[f"{SHARE}, low"] is not None:
                axis.plot([place] * 2, [row[f"{SHARE}, low"], row[f"{SHARE}, high"]], color=colour, linewidth=1.2)
    axis.axhline(0, color=PALE, linewidth=1, zorder=0)
    axis.set(xlabel=label, ylabel=SHARE, xscale="log" if logarithmic else "linear")
    if logarithmic:
        ticks = sorted({row[x] for row in rows if x in row})
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.minorticks_off()
    axis.legend()
    return figure


def about_ground(order: Order, labels: str = "") -> str:
    """Return what a page tells of its ground: person, pool, budget and judge.

    labels: how the person labels; "": as their ground says
    """
    ground = GROUNDS[order.ground]
    settings = [*grounds.BUDGET, *grounds.REST, *(QUICK if order.quick else ())]
    recipe = read_recipe(None, settings)
    train, draw = recipe.train, recipe.evaluate
    return (
        f"Ground: {ground.title}. The person is simulated: {person_of(ground, labels=labels)} They label images that "
        f"the base model generates at bare prompts ({POOL.steps} steps, guidance {POOL.guidance:g}). Each training has "
        f"{train.steps} steps of {train.batch} images at a rate of {train.lr:g} unless a setting says otherwise. The "
        "judge is the large style network, which gave no label, on 24 concepts that nobody rated, "
        f"{draw.per_prompt} images each ({draw.steps} steps of DDIM, guidance {draw.guidance:g}), paired by prompt and "
        "seed."
    )


def marks_note(rows: Sequence[Columns]) -> str:
    """Return a sentence with the log-odds and the faithfulness of both reference marks."""
    texts = []
    for mark, name in ((BASE, "the base model"), (ASKED, "the base model that is asked for the style")):
        chosen = [row for row in rows if row["cell"] == mark]
        odds, gap, faithful = ([row[key] for row in chosen] for key in ("log_odds", "gap", "faithfulness"))
        texts.append(
            f"{name} has log-odds of {mean_text(odds, '.2f')}, a gap of {mean_text(gap, '.2f')} and a faithfulness of "
            f"{mean_text(faithful)}"
        )
    return f"Reference marks: {'; '.join(texts)}."


def cut_off_note(named: Mapping[str, Sequence[Columns]], marks: Sequence[Columns]) -> str:
    """Return a sentence on how many of the rater's values are cut off, where a gap is then another than it would be."""

    def share(rows: Sequence[Columns]) -> float:
        values = [value for row in rows if "scores" in row for value in row["scores"]["rater"]]
        return sum(abs(value) >= CLIP for value in values) / len(values) if values else 0.0

    shares = {BASE: share([row for row in marks if row["cell"] == BASE])} | {n: share(r) for n, r in named.items()}
    most = max(shares, key=lambda name: shares[name])
    of_most = "the most of all" if most == BASE else f"and on {shares[most]:.0%} of {most}, the most of all"
    return (
        f"Log-odds are cut off at -{CLIP:g} and {CLIP:g}, so a gap shows less than there is where the rater's are: on "
        f"{shares[BASE]:.0%} of the images of the base model, {of_most}."
    )


def seeds_note(rows: Sequence[Columns]) -> str:
    """Return a sentence with the seeds of the rows."""
    seeds = sorted({row["seed"] for row in rows})
    names = {row["cell"] for row in rows}
    added = [
        f" But {name} was added after the rows of seed {method.seen} were seen: read its other seeds."
        for name, method in METHODS.items()
        if name in names and method.seen in seeds
    ]
    chosen = f"No setting was chosen on seeds from {grounds.FIRST_SEED} on."
    return f"Seeds: {', '.join(map(str, seeds))}. {chosen}{''.join(added)}"
