"""Rows of cells, one for each seed, into means and intervals over seeds, differences paired by seed, and panels."""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.evaluation.gates import MAX_FAITHFULNESS_LOSS
from thumbtune.experiments import seeds as over
from thumbtune.experiments.canvas import BLUE, PALE, RED

Row = Mapping[str, Any]
MEASURES = (
    "faithfulness_before",
    "gain",
    "win_rate",
    "taste_after",
    "faithfulness_change",
    "named_line_art_after",
    "auc",
)
ABOUT_GAIN = "gain: the mean score of the taste on prompts that nobody rated, after tuning less before"


def values_of(rows: Sequence[Row], measure: str, **wanted: Any) -> dict[int, float]:
    """seed -> a measure, of the rows with these columns that have it."""
    chosen = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return {row["seed"]: row[measure] for row in chosen if row.get(measure) is not None}


def differences(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """a - b on the seeds that both have: these share their pool, their likes and their judged seeds."""
    return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]


def means(rows: Sequence[Row], by: Sequence[str], measures: Sequence[str] = MEASURES) -> list[dict[str, Any]]:
    """A row for each setting, in their order: how many seeds, how many without a result, means and intervals."""
    settings = list(dict.fromkeys(tuple(row.get(name) for name in by) for row in rows))
    found = []
    for setting in settings:
        wanted = dict(zip(by, setting, strict=True))
        here = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
        row: dict[str, Any] = {**wanted, "seeds": len(here)}
        row["without a result"] = sum(one["status"] != "trained" for one in here)
        for measure in measures:
            if each := list(values_of(here, measure).values()):
                row |= over.columns(measure, each)
        found.append(row)
    return found


def for_people(rows: Sequence[Row], by: Sequence[str], measures: Sequence[str] = MEASURES) -> list[dict[str, Any]]:
    """`means` with every interval beside its mean."""

    def cell(row: Row, name: str) -> str:
        if row.get(name) is None:
            return "none"
        low, high = row[f"{name}, low"], row[f"{name}, high"]
        return f"{row[name]:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")

    kept = [*by, "seeds", "without a result"]
    return [{n: row[n] for n in kept} | {m.replace("_", " "): cell(row, m) for m in measures} for row in rows]


def said(values: Sequence[float], form: str = "+.3f") -> str:
    """As `seeds.said`, or that there is nothing."""
    return over.said(values, form) if values else "no result"


def above(values: Sequence[float], threshold: float = 0.0) -> bool | None:
    """As `seeds.above`; nothing can be told of nothing."""
    return over.above(values, threshold) if values else None


def error_bars(axis: Any, places: Sequence[float], rows: Sequence[Row], colour: str = BLUE, label: str = "") -> None:
    """The gain of each row with its interval; a ring where faithfulness fell by more than a verdict allows."""
    for place, row in zip(places, rows, strict=True):
        if row.get("gain") is None:
            axis.text(place, 0, "no result", rotation=90, ha="center", va="bottom", color=RED, fontsize=8)
            continue
        low, high = row["gain, low"], row["gain, high"]
        if low is not None:
            axis.plot([place, place], [low, high], color=colour, linewidth=1.4)
        fell = row["faithfulness_change"] < -MAX_FAITHFULNESS_LOSS * row["faithfulness_before"]
        axis.plot(place, row["gain"], "o", color=colour, markerfacecolor="white" if fell else colour, markersize=6)
    known = [(p, row["gain"]) for p, row in zip(places, rows, strict=True) if row.get("gain") is not None]
    axis.plot(*zip(*known, strict=True), color=colour, linewidth=0.8, alpha=0.5, label=label) if known else None
    axis.axhline(0, color=PALE, linewidth=1, zorder=0)
