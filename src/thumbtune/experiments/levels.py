"""`levels`: why the lead works, shown by where over the noise levels it learns, and by which dislikes teach.

Two levers, a bias to high noise and as many dislikes as likes, alone and together; and the lead with its dislikes at
high noise alone and at low noise alone. Each is measured on images that no training saw (`noise_curves`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.figures import PALE, panels
from thumbtune.experiments.grid_summary import differences, values_of
from thumbtune.experiments.ground_cells import ground_seeds
from thumbtune.experiments.ground_pages import COLOURS_IN_ORDER, GroundPage, ground_result, run_cells, say_shares
from thumbtune.experiments.ground_tables import SHARE, claim_better, gains_over, rows_by
from thumbtune.experiments.levels_cells import FACTS, HALVES, MARGIN, MOVED, tuned_with_curves
from thumbtune.experiments.methods import LEAD, LEAD_SETTINGS, METHODS, PAPER, Method, measure_of, method_cells
from thumbtune.experiments.noise_curves import LEVELS
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.search_on_ground import kto
from thumbtune.experiments.seed_statistics import is_above, mean_text

SEEDS = 4
COLUMN = "method"
NEITHER, BIAS, DISLIKES = "neither", "bias-alone", "dislikes-alone"
ABOVE, BELOW = "lead-dislikes-above-half", "lead-dislikes-below-half"
ROUNDING = 1e-9  # of the largest number: a smaller spread is that of its last digits
PAIRS_OF_DISLIKES = ((LEAD, BIAS), (DISLIKES, NEITHER))  # more dislikes and fewer: with the bias, then without it
Named = Mapping[str, Sequence[Mapping[str, Any]]]


def _with_curves(about: str, settings: tuple[str, ...]) -> Method:
    return Method(about=about, settings=settings, measure=tuned_with_curves, facts=FACTS)


TAKEN = {
    PAPER: _with_curves(METHODS[PAPER].about, METHODS[PAPER].settings),
    NEITHER: _with_curves("KTO, beta 250, timestep bias 1, liked share 0.8", kto("250", 1, 0.8)),
    BIAS: _with_curves("KTO, beta 250, timestep bias 3, liked share 0.8", kto("250", 3, 0.8)),
    DISLIKES: _with_curves("KTO, beta 250, timestep bias 1, liked share 0.5", kto("250", 1, 0.5)),
    LEAD: _with_curves(METHODS[LEAD].about, LEAD_SETTINGS),
    ABOVE: _with_curves(
        "the lead, with disliked images in the upper half of the noise alone",
        (*LEAD_SETTINGS, "train.disliked_timesteps=[0.5,1]"),
    ),
    BELOW: _with_curves(
        "the lead, with disliked images in the lower half of the noise alone",
        (*LEAD_SETTINGS, "train.disliked_timesteps=[0,0.5]"),
    ),
}
METHOD_NOTE = (
    "All settings but the paper's have beta 250. 'neither' has no bias and the paper's liked share of 0.8; "
    "'bias-alone' has train.timestep_bias=3, 'dislikes-alone' train.liked_share=0.5, and the lead both. Half is half "
    "of the time steps."
)
CURVES_NOTE = (
    "Margin: on images of the base model at prompts that nobody rated, the mean log-ratio of those that the judge "
    "calls wanted minus that of the others, as a share of the reference's mean error at that noise level. Moved: the "
    "mean squared distance between tuned and base model, as a share of the same. Each point of the figure is a mean "
    "over seeds."
)


def interaction(named: Named, measure: str = "log_odds") -> list[float]:
    """Return what both levers do beyond the sum of each alone, seed by seed: (lead - bias) - (dislikes - neither).

    It is 0 where levers add up.
    """
    of = {name: values_of(named[name], measure) for name in (LEAD, BIAS, DISLIKES, NEITHER)}
    with_bias, without = ({s: of[a][s] - of[b][s] for s in of[a].keys() & of[b].keys()} for a, b in PAIRS_OF_DISLIKES)
    return differences(with_bias, without)


def claim_levers_interact(named: Named) -> Claim:
    """Return the claim that dislikes teach more with the bias than without it."""
    gained = interaction(named)
    effects = [gains_over(named[more], named[fewer], "log_odds") for more, fewer in PAIRS_OF_DISLIKES]
    return Claim(
        "More dislikes help more where noise is high",
        "what a liked share of 0.5 adds to the log-odds with the bias, minus what it adds without the bias, paired by "
        "seed, is above 0 beyond chance.",
        verdict_of(is_above(gained)),
        f"with the bias {mean_text(effects[0], '+.2f')}, without {mean_text(effects[1], '+.2f')}; difference "
        f"{mean_text(gained, '+.2f')}.",
    )


def claim_margin(named: Named) -> Claim:
    """Return the claim that the lead tells wanted images apart at high noise more than the paper's recipe does."""
    gained = {half: gains_over(named[LEAD], named[PAPER], f"{MARGIN}_{half}") for half in HALVES}
    return Claim(
        "At high noise the lead tells wanted images from others by more than the paper's recipe does",
        "the margin over the upper half of the levels, paired by seed, is higher beyond chance.",
        verdict_of(is_above(gained["high"])),
        f"upper half {mean_text(gained['high'], '+.4f')}, lower half {mean_text(gained['low'], '+.4f')}.",
    )


def correlation(named: Named, measure: str, is_within: bool = False) -> float | None:
    """Return Pearson's correlation of a measure with the share of the headroom, over all cells with both.

    Both are taken relative to their seed's mean, so that seeds which are easier say nothing; within settings, relative
    to their setting's mean too, so that settings which differ say nothing either.
    """
    cells = [
        (row["seed"], name, row[measure], row[SHARE])
        for name, rows in named.items()
        for row in rows
        if _has(row, measure)
    ]
    if not cells:
        return None
    values = np.array([cell[2:] for cell in cells], dtype=float).T
    for groups in ([cell[0] for cell in cells], *([[cell[1] for cell in cells]] if is_within else [])):
        values = _centred(values, groups)
    least = float(np.min(values.std(1)))
    return None if least <= ROUNDING * float(np.max(np.abs(values))) else float(np.asarray(np.corrcoef(values))[0, 1])


def _centred(values: NDArray[np.float64], groups: Sequence[int] | Sequence[str]) -> NDArray[np.float64]:
    """Return the values of each row minus the mean of their group."""
    names = np.array(groups)
    centred = values.copy()
    for name in set(groups):
        centred[:, names == name] -= values[:, names == name].mean(1, keepdims=True)
    return centred


def _has(row: Mapping[str, Any], measure: str) -> bool:
    return row.get(measure) is not None and row.get(SHARE) is not None


def correlation_note(named: Named) -> str:
    """Return sentences on which half of the noise the share of the headroom goes with."""

    def text(half: str, is_within: bool) -> str:
        found = correlation(named, f"{MARGIN}_{half}", is_within)
        return "not defined" if found is None else f"{found:+.2f}"

    return (
        f"Over all cells, relative to their seed's mean, the share of the headroom correlates with the margin of the "
        f"upper half of the noise by {text('high', False)}, and with that of the lower half by {text('low', False)}. "
        f"Within settings, relative to their mean too, it does by {text('high', True)} and {text('low', True)}: where "
        "these are far lower, the first two tell settings apart, and nothing of the trainings of one setting."
    )


def plot_curves_by_level(named: Named) -> Any:
    """Plot margin and movement against the noise level, a line for each setting: means over seeds."""
    figure, axes = panels(1, 2, (4.2, 3.2))
    for axis, name, label in zip(axes, (MARGIN, MOVED), ("margin", "moved"), strict=True):
        for colour, (setting, rows) in zip(COLOURS_IN_ORDER, named.items(), strict=False):
            of_seeds = [row["levels"][name] for row in rows if "levels" in row and None not in row["levels"][name]]
            if of_seeds:
                axis.plot(LEVELS, np.mean(of_seeds, axis=0), "o-", color=colour, markersize=4, label=setting)
        axis.axhline(0, color=PALE, linewidth=1, zorder=0)
        axis.axvline(0.5, color=PALE, linewidth=1, zorder=0)
        axis.set(xlabel="noise level (share of the time steps)", ylabel=f"{label} (share of the reference's error)")
    axes[1].set_yscale("log")
    axes[0].legend(fontsize=7)
    return figure


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train every setting on every seed, measure its curves, and decide the claims."""
    taken = {name: TAKEN[name] for name in order.chosen(TAKEN)}
    rows = run_cells(order, progress, say, method_cells(order, ground_seeds(order, SEEDS), taken), measure_of(taken))
    named = rows_by(rows, lambda row: row[COLUMN])
    say_shares(named, say)
    claims = [
        *([claim_better(named, ABOVE, BELOW)] if {ABOVE, BELOW} <= named.keys() else []),
        *([claim_levers_interact(named)] if {NEITHER, BIAS, DISLIKES, LEAD} <= named.keys() else []),
        *([claim_margin(named)] if {LEAD, PAPER} <= named.keys() else []),
    ]
    return ground_result(
        order,
        rows,
        named,
        {COLUMN: COLUMN},
        GroundPage(
            title="Where over the noise levels a recipe learns",
            figure=plot_curves_by_level(named),
            caption="Left: what tells wanted images from others. Right: how far the model moves (logarithmic scale).",
            claims=claims,
            measures=tuple(f"{name}_{half}" for name in (MARGIN, MOVED) for half in HALVES),
            notes=(METHOD_NOTE, CURVES_NOTE, correlation_note(named)),
        ),
    )
