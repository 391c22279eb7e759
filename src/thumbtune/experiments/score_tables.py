"""Tables 2 and 6 of the paper: mean scores with intervals beside the paper's, as rows, a page's table and a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thumbtune.evaluation.statistics import percentile_interval
from thumbtune.evaluation.win_rates import Units, resampled
from thumbtune.experiments.figures import BLUE, panels
from thumbtune.experiments.paper_numbers import COLUMNS

Columns = Mapping[str, Any]


def mean_of(table: Sequence[Sequence[float]], unit: Units) -> dict[str, Any]:
    """Return the mean over prompts and its interval: [prompts, k] -> mean, low, high; None if nothing was scored."""
    scores = np.asarray(table, np.float64)
    scored = ~np.isnan(scores).all(1)
    if not scored.any():
        return dict.fromkeys(("mean", "low", "high"))
    means = np.nanmean(scores[scored], axis=1)
    reach = percentile_interval(resampled(unit.of(scored), means[:, None])[:, 0], float(means.mean()))
    return {"mean": float(means.mean()), "low": reach.low, "high": reach.high}


def page_rows_of(rows: Sequence[Columns], by: str, names: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a line for each model or style, with a column for each score: measured here, and in the paper."""
    lines = []
    for key in dict.fromkeys(row[by] for row in rows):
        here = [row for row in rows if row[by] == key]
        lines.append({by: names.get(key, key)} | {row["score"]: _cell(row) for row in here})
    return lines


def _cell(row: Columns) -> str:
    here = "-" if row["mean"] is None else f"{row['mean']:.4g} ({row['low']:.4g} to {row['high']:.4g})"
    return f"{here}; paper {row['paper']:g}"


def plot(rows: Sequence[Columns], by: str, names: Mapping[str, str]) -> Any:
    """Plot a panel for each score: ours in blue with its interval, the paper's in grey."""
    keys = list(dict.fromkeys(row[by] for row in rows))
    figure, axes = panels(1, len(COLUMNS), (2.3, 1.0 + 0.35 * len(keys)), sharey=True)
    for axis, score in zip(axes, COLUMNS, strict=True):
        for row in rows:
            if row["score"] != score:
                continue
            place = keys.index(row[by])
            axis.plot(row["paper"], place + 0.15, "D", color="#888888", markersize=4)
            if row["mean"] is not None:
                axis.plot((row["low"], row["high"]), [place - 0.15] * 2, color=BLUE, linewidth=2)
                axis.plot(row["mean"], place - 0.15, "o", color=BLUE, markersize=5)
        axis.set(title=score, yticks=range(len(keys)), ylim=(len(keys) - 0.4, -0.6))
        axis.set_yticklabels([names.get(key, key) for key in keys])
    axes[0].set_xlabel("mean score")
    return figure
