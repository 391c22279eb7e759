"""The search for a recipe: the demo's recipe with one change at a time, on seeds that no other experiment uses.

The best of many settings on two seeds looks better than it is; `beyond` measures the chosen ones on other seeds.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thumbtune.evaluation.gates import MAX_FAITHFULNESS_LOSS
from thumbtune.experiments.experiments import FIRST_SEARCH_SEED, Order, Progress, Say
from thumbtune.experiments.figures import BLUE, ORANGE, PALE, panels
from thumbtune.experiments.grid_summary import means, page_rows_of
from thumbtune.experiments.result_page import Result
from thumbtune.experiments.seed_statistics import UNBOUNDED_NOTE
from thumbtune.experiments.training_grid import ROW, Grid, GridCell, budget_text, run_grid

SEEDS = 2
TASTE = "line-art"
BUDGET = ("train.steps=140", "train.batch=32")
START = ("objective.beta=250", "train.lr=5e-4", "train.cooldown=20")
FADING = ("train.lr=5e-4", "train.cooldown=20")
FASTER = ("train.lr=1e-3", "train.cooldown=20")
# the changes to START; for a baseline, all its settings. Names are those of the kept rows and of the figure.
CHANGES: dict[str, tuple[str, ...]] = {
    "start": (),
    "beta 5000": ("objective.beta=5000",),
    "beta auto": ("objective.beta=auto",),
    "neutral zero": ("objective.reference_point=zero",),
    "anchor 60": ("objective.anchor=60",),
    "lr 1e-3": ("train.lr=1e-3",),
    "high noise": ("train.timestep_bias=2",),
    "low noise": ("train.timestep_bias=0.5",),
    "disliked half": ("objective.disliked_weight=0.5",),
    "ema 0.95": ("train.ema=0.95",),
    "loss-averse": ("objective.utility=loss-averse",),
    "risk-seeking": ("objective.utility=risk-seeking",),
    "liked share 0.5": ("train.liked_share=0.5",),
    "no prompt dropout": ("train.prompt_dropout=0",),
    "neutral balanced": ("objective.reference_point=balanced",),
    "neutral mismatched": ("objective.reference_point=mismatched",),
    "refresh every 50": ("train.sync_reference_every=50",),
    "beta 60": ("objective.beta=60",),
    "beta 1000": ("objective.beta=1000",),
    "rank 64": ("lora.rank=64", "lora.alpha=64"),
    # added after the page in docs/ was measured
    "no cool-down": ("train.cooldown=0",),
    "neutral running": ("objective.reference_point=running",),
    "anchor 15": ("objective.anchor=15",),
    "beta auto, gains x4": ("objective.beta=auto", "objective.gain_scale=4"),
}
# measured with an option that recipes no longer have (docs/own-objective.md): shown where a folder has their rows, and
# not trained again
RETIRED: dict[str, tuple[str, ...]] = {
    "disliked floor 1": ("objective.disliked_floor=1",),
    "disliked floor 0.2": ("objective.disliked_floor=0.2",),
}
BASELINES: dict[str, tuple[str, ...]] = {
    "sft": ("objective.name=sft", *FADING),
    "sft, lr 1e-3": ("objective.name=sft", *FASTER),
    "csft": ("objective.name=csft", *FADING),
    "csft, lr 1e-3": ("objective.name=csft", *FASTER),
    "dpo, beta 500": ("objective.name=dpo", "objective.beta=500", *FADING),
    "dpo, beta 100": ("objective.name=dpo", "objective.beta=100", *FADING),
    "bco, beta 250": ("objective.name=bco", "objective.beta=250", *FADING),
    "bco, beta 60": ("objective.name=bco", "objective.beta=60", *FADING),
}
NAMES_NOTE = (
    "In the names of settings, `neutral X` is `objective.reference_point=X`, and `refresh every 50` is "
    "`train.sync_reference_every=50`."
)
SETTINGS = {name: (*START, *change) for name, change in CHANGES.items()} | BASELINES
BY_STYLE = "named_line_art_after"


def cells(order: Order) -> list[GridCell]:
    """Return the cells, seed by seed: every setting."""
    return [
        GridCell(
            name=name.replace(",", "").replace(" ", "-"),
            seed=seed,
            taste=TASTE,
            settings=(*BUDGET, *settings),
            columns={"setting": name},
        )
        for seed in _seeds(order)
        for name, settings in list(SETTINGS.items())[:: 7 if order.quick else 1]
    ]


def _seeds(order: Order) -> range:
    return range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + order.seeds_or(SEEDS))


def retired_rows(order: Order) -> list[dict[str, Any]]:
    """Return the rows of the retired settings that the folder holds, as they were measured."""
    rows = []
    for seed in _seeds(order):
        for name in RETIRED:
            file = order.folder / "runs" / f"{name.replace(' ', '-')}-seed-{seed}" / ROW
            if file.exists():
                stored = json.loads(file.read_text(encoding="utf-8"))
                cell = {key: stored["cell"][key] for key in ("seed", "taste")}
                rows.append({"cell": stored["cell"]["name"], **cell, **stored["cell"]["columns"], **stored["row"]})
    return rows


def rank(summary: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings, best first by the style judge; those that lost too much faithfulness for a verdict last."""

    def sort_key(row: Mapping[str, Any]) -> tuple[int, float]:
        if row.get(BY_STYLE) is None:
            return 2, 0.0
        return int(row["faithfulness_change"] < -MAX_FAITHFULNESS_LOSS * row["faithfulness_before"]), -row[BY_STYLE]

    return [dict(row) for row in sorted(summary, key=sort_key)]


def plot(rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Any:
    """Plot a line for each setting, the best on top: the share named line art, and the change of faithfulness."""
    height = 1 + 0.19 * len(order)
    measures = {BY_STYLE: "images that the judge names line art", "faithfulness_change": "change of faithfulness"}
    figure, axes = panels(1, len(measures), (3.6, height), sharey=True)
    for axis, (column, what) in zip(axes, measures.items(), strict=True):
        for y, name in enumerate(order):
            x = [row[column] for row in rows if row["setting"] == name and row.get(column) is not None]
            colour = ORANGE if name in BASELINES else BLUE
            axis.plot(x, [y] * len(x), "o", color=colour, markersize=3.5, alpha=0.6, markeredgewidth=0)
            if x:
                axis.plot(np.mean(x), y, "|", color=colour, markersize=9)
        axis.set(xlabel=what, yticks=range(len(order)), ylim=(len(order) - 0.5, -0.5))
        axis.grid(axis="y", color=PALE, linewidth=0.5)
    axes[0].set_yticklabels(order)
    return figure


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train every setting, and rank them."""
    if order.ground:
        from thumbtune.experiments import search_on_ground

        return search_on_ground.make(order, progress, say)
    rows = [*run_grid(Grid(order, progress, say), cells(order)), *retired_rows(order)]
    by = ("setting",)
    summary = rank(means(rows, by))
    return Result(
        title="The search for a recipe",
        about="The line-art demo's recipe with one change at a time, and its baselines with settings of their own, "
        f"at {budget_text(order, BUDGET)}. The order is by the style judge, which no training uses; settings that lost "
        f"more than {MAX_FAITHFULNESS_LOSS:.0%} of their faithfulness come last.",
        figure=plot(rows, [row["setting"] for row in summary]),
        caption="A point for each seed and a bar for their mean. Our recipe is blue, baselines are orange. Further "
        "right is better in both panels.",
        rows=rows,
        page_rows=page_rows_of(summary, by),
        notes=(
            "The best of many settings on two seeds is partly luck. This search only chooses settings; `thumbtune "
            "paper beyond` measures the chosen ones on other seeds.",
            f"START is the demo's recipe as it was before the search: {', '.join(START)}. The settings of a baseline "
            "are all that it sets.",
            NAMES_NOTE,
            UNBOUNDED_NOTE,
        ),
    )
