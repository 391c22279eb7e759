"""Mean scores with their intervals beside the paper's, as rows, a table and a figure: what Tables 2 and 6 share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thumbtune.evaluation.win_rates import Units, interval, resampled
from thumbtune.experiments.canvas import BLUE, panels
from thumbtune.experiments.reported import COLUMNS

Row = Mapping[str, Any]


def mean_of(table: Sequence[Sequence[float]], unit: Units) -> dict[str, Any]:
    """The mean over prompts, with its interval: [prompts, k] -> mean, low, high; None where nothing was scored."""
    scores = np.asarray(table, np.float64)
    known = ~np.isnan(scores).all(1)
    if not known.any():
        return dict.fromkeys(("mean", "low", "high"))
    each = np.nanmean(scores[known], axis=1)
    reach = interval(resampled(unit.of(known), each[:, None])[:, 0], float(each.mean()))
    return {"mean": float(each.mean()), "low": reach.low, "high": reach.high}


def shown(rows: Sequence[Row], by: str, names: Mapping[str, str]) -> list[dict[str, str]]:
    """A line for each model or style, a column for each score: here, and in the paper."""
    lines = []
    for key in dict.fromkeys(row[by] for row in rows):
        here = [row for row in rows if row[by] == key]
        lines.append({by: names.get(key, key)} | {row["score"]: _cell(row) for row in here})
    return lines


def _cell(row: Row) -> str:
    here = "-" if row["mean"] is None else f"{row['mean']:.4g} ({row['low']:.4g} to {row['high']:.4g})"
    return f"{here}; paper {row['paper']:g}"


def draw(rows: Sequence[Row], by: str, names: Mapping[str, str]) -> Any:
    """A panel for each score: here in blue with its interval, the paper in grey."""
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
