"""Summaries of a grid of trainings: means and intervals over seeds, differences paired by seed, and their plot."""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.evaluation.gates import MAX_FAITHFULNESS_LOSS
from thumbtune.experiments import demo
from thumbtune.experiments.figures import BLUE, PALE, RED
from thumbtune.experiments.seed_statistics import interval_columns
from thumbtune.feedback.likes import is_held_out

Columns = Mapping[str, Any]
MEASURES = (
    "faithfulness_before",
    "gain",
    "win_rate",
    "taste_after",
    "faithfulness_change",
    "named_line_art_after",
    "auc",
)
GAIN_NOTE = (
    "Gain is the mean score of the taste after tuning, minus the mean before, on prompts that the person did not rate."
)


def values_of(rows: Sequence[Columns], measure: str, **wanted: Any) -> dict[int, float]:
    """Return seed -> measure, for the rows that have these columns and a value of the measure."""
    chosen = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return {row["seed"]: row[measure] for row in chosen if row.get(measure) is not None}


def differences(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """Return a - b on the seeds that both have; equal seeds share their pool, labels and evaluation seeds."""
    return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]


def means(rows: Sequence[Columns], by: Sequence[str], measures: Sequence[str] = MEASURES) -> list[dict[str, Any]]:
    """Return a row for each setting, in order: its seeds, seeds without a result, and means with intervals."""
    settings = list(dict.fromkeys(tuple(row.get(name) for name in by) for row in rows))
    summary = []
    for setting in settings:
        wanted = dict(zip(by, setting, strict=True))
        matching = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
        row: dict[str, Any] = {**wanted, "seeds": len(matching)}
        row["without a result"] = sum(match["status"] != "trained" for match in matching)
        for measure in measures:
            if values := list(values_of(matching, measure).values()):
                row |= interval_columns(measure, values)
        summary.append(row)
    return summary


def page_rows_of(
    rows: Sequence[Columns],
    by: Mapping[str, str] | Sequence[str],
    measures: Sequence[str] = MEASURES,
    missing: str = "none",
) -> list[dict[str, Any]]:
    """Return the rows of `means` with each interval beside its mean.

    by: the columns of the setting; a mapping gives the name that the page shows for each
    missing: what the page shows for a measure without a value
    """
    shown = by if isinstance(by, Mapping) else {name: name for name in by}

    def cell(row: Columns, name: str) -> str:
        if row.get(name) is None:
            return missing
        low, high = row[f"{name}, low"], row[f"{name}, high"]
        return f"{row[name]:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")

    columns = {**shown, "seeds": "seeds", "without a result": "without a result"}
    return [
        {title: row[name] for name, title in columns.items()} | {m.replace("_", " "): cell(row, m) for m in measures}
        for row in rows
    ]


def held_out_note(rows: Sequence[Columns]) -> str:
    """Return a sentence on how many prompts each seed's AUC stands on: the held-out ones of those that were rated."""
    prompts = [demo.prompt_of(concept) for concept in demo.concepts()["rated"]]
    counts = {seed: sum(is_held_out(prompt, seed=seed) for prompt in prompts) for seed in {row["seed"] for row in rows}}
    texts = [f"{counts[seed]} of {len(prompts)} prompts for seed {seed}" for seed in sorted(counts)]
    return (
        f"The AUC counts the labels of held-out prompts alone: {', '.join(texts)}. So few labels give a rough number."
    )


def plot_gains(
    axis: Any, places: Sequence[float], rows: Sequence[Columns], colour: str = BLUE, label: str = ""
) -> None:
    """Plot the gain of each row with its interval; a ring marks a larger loss of faithfulness than a verdict allows."""
    for place, row in zip(places, rows, strict=True):
        if row.get("gain") is None:
            axis.text(place, 0, "no result", rotation=90, ha="center", va="bottom", color=RED, fontsize=8)
            continue
        low, high = row["gain, low"], row["gain, high"]
        if low is not None:
            axis.plot([place, place], [low, high], color=colour, linewidth=1.4)
        fell = row["faithfulness_change"] < -MAX_FAITHFULNESS_LOSS * row["faithfulness_before"]
        axis.plot(place, row["gain"], "o", color=colour, markerfacecolor="white" if fell else colour, markersize=6)
    points = [(p, row["gain"]) for p, row in zip(places, rows, strict=True) if row.get("gain") is not None]
    axis.plot(*zip(*points, strict=True), color=colour, linewidth=0.8, alpha=0.5, label=label) if points else None
    axis.axhline(0, color=PALE, linewidth=1, zorder=0)
