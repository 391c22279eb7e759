"""`screen`: many methods in seconds each, in a small world whose truth is known. For ideas: it is no judge of settings.

share of the headroom = (like - like of the base) / (like of true samples that are liked - like of the base)

better: the interval of the paired gain in like is above 0, and that of the paired change of sound above -0.02
"""

import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from thumbtune.experiments.beyond_on_ground import COST_NOTE, RELATIVE, with_cost
from thumbtune.experiments.criteria import (
    BETTER,
    LOSES_BUT_KEEPS,
    WORSE,
    is_better,
    share_of_headroom,
    standing_of,
)
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.figures import BLUE, PALE, panels
from thumbtune.experiments.grid_summary import means, page_rows_of, values_of
from thumbtune.experiments.ground_cells import ASKED, BASE
from thumbtune.experiments.ground_pages import PAIRS_NOTE, say_shares
from thumbtune.experiments.ground_tables import SHARE, claims_of_separation, diverged, gains_over, rows_by
from thumbtune.experiments.grounds import FIRST_SEED
from thumbtune.experiments.methods import PAPER, Method
from thumbtune.experiments.result_page import OPEN, Claim, Result, verdict_of
from thumbtune.experiments.screen_base import EVALUATION, POOL, Sizes
from thumbtune.experiments.screen_cells import Screen, cells_of
from thumbtune.experiments.screen_methods import BUNDLED_ERRORS, KTO_60, methods_of, recipe_of
from thumbtune.experiments.screen_rows import run_cells
from thumbtune.experiments.seed_statistics import ONE_BY_ONE_NOTE, UNBOUNDED_NOTE, is_above, mean_text
from thumbtune.training.cache import Cache

SEEDS = 8
MARGIN = 0.02  # of sound, a share of samples: one sample in fifty
QUICK_SIZES = Sizes(pretraining=40, per_prompt=8, samples=240)
COLUMN = "method"
LIKE, SOUND = "like", "sound"
LIKED_TRUTH = "true samples that are liked"
MEASURES = (SHARE, LIKE, SOUND, "style", "attribute", "spread", RELATIVE)
NO_JUDGE = (
    "**A screen for ideas, no judge of settings.** What wins here is worth a try on a ground, and what a ground shows "
    "counts. Beta, timestep bias and windows act through the errors of noise levels, which fall otherwise here than in "
    "an image model (see the notes), so this world can rank them the other way round."
)
CRITERION = (
    "its gain in like, paired by seed, is above 0 beyond chance (Student's 95% interval over seeds), and it is not "
    f"less sound by more than {MARGIN}: the interval of the paired difference of sound lies above -{MARGIN}."
)
MEASURES_NOTE = (
    "Like: the share of samples that the person's truth likes and that are sound. Sound: on the prompt's content and "
    "on a mode. Style: with the wanted style. Attribute: mean of the attribute in the wanted direction; spread: "
    "standard deviation of two attributes of which nobody wants anything, 1 of true samples; both of sound samples."
)
BETA_NOTE = (
    "A number of beta is divided by the mean error of this world's base, and multiplied by that of the bundled model "
    "on its own images, {bundled:.4f}; both at uniform noise levels. 5000 becomes {paper:.0f} here. `auto` and "
    "relative log-ratios need no translation."
)
ERRORS_NOTE = (
    "Mean errors of the base in each eighth of the noise, from the lowest, as shares of the first: {here} here, and "
    "{bundled} of the bundled model."
)
Named = Mapping[str, Sequence[Mapping[str, Any]]]


def with_shares(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with their share of the headroom, by the marks of their seed; a diverged one has none."""
    marks = {(row["cell"], row["seed"]): row[LIKE] for row in rows if row["cell"] in (BASE, ASKED)}

    def share(row: Mapping[str, Any]) -> dict[str, float]:
        if LIKE not in row:
            return {}
        return {SHARE: share_of_headroom(row[LIKE], *(marks[mark, row["seed"]] for mark in (BASE, ASKED)))}

    return [dict(row) | share(row) for row in rows]


def better(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return whether the rows of a are better than those of b; one that diverged in every seed loses."""
    lost = diverged(a), diverged(b)
    if any(lost):
        return None if all(lost) else lost[1]
    return is_better(gains_over(a, b, LIKE), gains_over(a, b, SOUND), MARGIN)


def standing(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> str:
    """Return in a word or two how the rows of a stand against those of b."""
    if diverged(a) or diverged(b):
        return {True: BETTER, False: WORSE, None: OPEN}[better(a, b)]
    found = standing_of(gains_over(a, b, LIKE), gains_over(a, b, SOUND), MARGIN) or OPEN
    return "loses, and is sounder" if found == LOSES_BUT_KEEPS else found


def evidence(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> str:
    """Return the numbers of a comparison as a sentence."""
    for rows, name in ((a, "the first"), (b, "the second")):
        if diverged(rows):
            return f"{name} diverged in every seed."
    return "; ".join(f"{name} {mean_text(gains_over(a, b, name), '+.3f')}" for name in (LIKE, SHARE, SOUND)) + "."


def claim_better(named: Named, a: str, b: str) -> Claim:
    """Return the claim that one method is better than another one."""
    one, other = named[a], named[b]
    return Claim(f"{a} is better than {b}", CRITERION, verdict_of(better(one, other)), evidence(one, other))


def claim_betas(named: Named) -> Claim:
    """Return the claim that a low beta gains more than the paper's here."""
    low, high = named[KTO_60], named[PAPER]
    return Claim(
        "At the paper's other settings, beta 60 gains more here than the paper's 5000",
        "its gain in like, paired by seed, is above 0 beyond chance.",
        verdict_of(is_above(gains_over(low, high, LIKE))),
        evidence(low, high),
    )


def claims_of(named: Named) -> list[Claim]:
    """Return the claims: methods are told apart, betas rank as they do, each method is better than the paper's."""
    others = [name for name in named if name != PAPER] if PAPER in named else []
    betas = [claim_betas(named)] if {PAPER, KTO_60} <= named.keys() else []
    return [*claims_of_separation(named, "methods"), *betas, *(claim_better(named, name, PAPER) for name in others)]


def pairs_table(named: Named) -> list[dict[str, Any]]:
    """Return a row for each pair of methods: paired differences and verdict."""
    return [
        {
            COLUMN: a,
            "against": b,
            "seeds": len(gains_over(named[a], named[b], LIKE)),
            **{name: mean_text(gains_over(named[a], named[b], name), "+.3f") for name in (LIKE, SHARE, SOUND)},
            "verdict": standing(named[a], named[b]),
        }
        for a, b in combinations(named, 2)
    ]


def plot(named: Named, marks: Named) -> Any:
    """Plot a line for each method and mark: share of the headroom, sound and spread of each seed, and their means."""
    lines = {**marks, **named}
    figure, axes = panels(1, 3, (3.2, 1 + 0.24 * len(lines)), sharey=True)
    for axis, measure in zip(axes, (SHARE, SOUND, "spread"), strict=True):
        for y, rows in enumerate(lines.values()):
            values = list(values_of(rows, measure).values())
            axis.plot(values, [y] * len(values), "o", color=BLUE, markersize=3.5, alpha=0.6, markeredgewidth=0)
            if values:
                axis.plot(np.mean(values), y, "|", color=BLUE, markersize=12)
        axis.axvline(1, color=PALE, linewidth=1, zorder=0)
        axis.set(xlabel=measure, yticks=range(len(lines)), ylim=(len(lines) - 0.5, -0.5))
    axes[0].axvline(0, color=PALE, linewidth=1, zorder=0)
    axes[0].set_yticklabels([LIKED_TRUTH if name == ASKED else name for name in lines])
    return figure


def about(order: Order, methods: Mapping[str, Method]) -> str:
    """Return what the page tells of this world before its numbers."""
    sizes = sizes_of(order)
    train = recipe_of(next(iter(methods.values())), FIRST_SEED, order.quick).train
    return (
        f"{NO_JUDGE}\n\nA sample is 8 numbers: the content of its prompt, one of five style modes, and three "
        "attributes. The person wants a rare style, another one by the first bit of the prompt, and an attribute whose "
        f"sign depends on the second bit. They label {sizes.per_prompt} samples of the base at each of 24 prompts "
        f"(guidance {POOL.guidance:g}), and like each with a chance. The other 24 prompts are never rated, and "
        f"{sizes.samples:,} samples at these are measured (guidance {EVALUATION.guidance:g}). The model is a "
        f"perceptron. All its weights are trained, {train.steps} steps of {train.batch} samples at a rate of "
        f"{train.lr:g}, by the batches, objectives, rules and trainer of `thumbtune train`. Seeds from {FIRST_SEED} "
        f"on.\n\nA method is better than another one if {CRITERION}"
    )


def sizes_of(order: Order) -> Sizes:
    """Return how much an order trains, labels and samples."""
    return QUICK_SIZES if order.quick else Sizes()


def notes_of(marks: Named) -> list[str]:
    """Return the notes that the rows of the marks decide: the marks, the translation of beta, errors by noise level."""
    errors = marks[BASE][0]["errors"]
    bundled, here = (sum(each) / len(each) for each in (BUNDLED_ERRORS, errors))
    texts = [
        f"{name}: "
        + ", ".join(f"{of} {mean_text(list(values_of(rows, of).values()))}" for of in (LIKE, SOUND, "spread"))
        for name, rows in (("the base", marks[BASE]), (LIKED_TRUTH, marks[ASKED]))
    ]
    shares = {
        name: ", ".join(f"{error / each[0]:.3f}" for error in each)
        for name, each in (("here", errors), ("bundled", BUNDLED_ERRORS))
    }
    return [
        f"Marks. {'; '.join(texts)}.",
        BETA_NOTE.format(bundled=bundled, paper=5000 * bundled / here),
        ERRORS_NOTE.format(**shares),
    ]


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Tune every chosen method on every seed, compare all pairs, and decide the claims."""
    methods = methods_of(order)
    seeds = range(FIRST_SEED, FIRST_SEED + order.seeds_or(SEEDS, quick=2))
    with tempfile.TemporaryDirectory() as cache:
        screen = Screen(
            folder=order.folder,
            cache=Cache(Path(cache)),
            sizes=sizes_of(order),
            is_quick=order.quick,
            progress=progress,
        )
        rows = with_cost(with_shares(run_cells(screen, cells_of(methods, seeds), say)))
    named = rows_by(rows, lambda row: row[COLUMN])
    marks = {mark: [row for row in rows if row["cell"] == mark] for mark in (BASE, ASKED)}
    say_shares(named, say)
    summary = means([row for of_method in named.values() for row in of_method], (COLUMN,), MEASURES)
    return Result(
        title="The vector world: a screen for ideas",
        about=about(order, methods),
        figure=plot(named, marks),
        caption="A point for each seed and a bar for their mean. The left panel has the base at 0 and true samples "
        "that are liked at 1.",
        rows=rows,
        page_rows=page_rows_of(summary, (COLUMN,), MEASURES, "not measured"),
        claims=claims_of(named),
        more_tables={
            "Every pair": pairs_table(named),
            "Methods": [
                {COLUMN: name, "is": method.about, "settings": " ".join(method.settings)}
                for name, method in methods.items()
            ],
        },
        notes=(*notes_of(marks), MEASURES_NOTE, COST_NOTE, ONE_BY_ONE_NOTE, PAIRS_NOTE, UNBOUNDED_NOTE),
    )
