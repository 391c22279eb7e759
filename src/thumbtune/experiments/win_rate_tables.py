"""Tables 1 and 7 of the paper: win-rates of Diffusion-KTO beside the paper's, as rows, claims and a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbtune.duels.gallery import Gallery
from thumbtune.evaluation.prompts import PROMPT_SETS
from thumbtune.evaluation.standings import ALPHA, careful, standings
from thumbtune.evaluation.win_rates import CHANCE
from thumbtune.experiments.compared_models import paired_scores
from thumbtune.experiments.figures import BLUE, PALE, panels
from thumbtune.experiments.paper_numbers import COLUMNS, Five, half_width
from thumbtune.experiments.result_page import Claim, verdict_of

Columns = Mapping[str, Any]


def win_rate_rows(
    galleries: Mapping[str, Gallery], scorers: Mapping[str, str], paper: Mapping[str, Five], **columns: Any
) -> list[dict[str, Any]]:
    """Return a row for each baseline and score, by medians as in the paper."""
    plan = galleries["kto"].plan
    rows = []
    for baseline, reported in paper.items():
        if baseline not in galleries:
            continue
        table = standings(
            paired_scores(galleries, baseline, list(dict.fromkeys(scorers.values()))), plan.prompts.prompts
        )
        measured = {row["scorer"]: row for row in table if row["estimand"] == "median" and row["prompts"]}
        for (name, scorer), percent in zip(scorers.items(), reported, strict=True):
            rows.append(
                {**columns, "baseline": baseline, "score": name, "scorer": scorer, **_rate(measured.get(scorer))}
            )
            rows[-1] |= {
                "paper": percent,
                "paper_half_width": half_width(percent, PROMPT_SETS[plan.prompts.name].count),
            }
    return rows


def _rate(row: Columns | None) -> dict[str, Any]:
    if row is None:
        return dict.fromkeys(("rate", "low", "high", "p"))
    low, high = careful(row)
    return {"rate": 100 * row["rate"], "low": 100 * low, "high": 100 * high, "p": row["holm"]}


def page_rows_of(
    rows: Sequence[Columns], names: Mapping[str, str], by: Sequence[str] = ("baseline",)
) -> list[dict[str, str]]:
    """Return a line for each baseline, with a column for each score: measured here, and in the paper."""
    lines = []
    for place in dict.fromkeys(tuple(row[key] for key in by) for row in rows):
        here = [row for row in rows if tuple(row[key] for key in by) == place]
        line = {key: names.get(value, value) for key, value in zip(by, place, strict=True)}
        lines.append(line | {row["score"]: _cell(row) for row in here})
    return lines


def _cell(row: Columns) -> str:
    here = "-" if row["rate"] is None else f"{row['rate']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
    return f"{here}; paper {row['paper']:.1f} ±{row['paper_half_width']:.1f}"


def claim_wins(rows: Sequence[Columns], baseline: str, name: str, where: str = "") -> Claim:
    """Return the claim that Diffusion-KTO wins more than half of the prompts by every score."""
    here = [row for row in rows if row["baseline"] == baseline]
    known = [row for row in here if row["rate"] is not None]
    conditions = [_won(row) for row in known]
    return Claim(
        f"Diffusion-KTO is preferred over {name} by every score{where}",
        "the 95 % interval of each win-rate lies above 50 %.",
        verdict_of(*conditions) if known and len(known) == len(here) else verdict_of(None),
        "; ".join(f"{r['score']} {r['rate']:.1f} % ({r['low']:.1f} to {r['high']:.1f})" for r in known)
        + ("." if known else "not measured here."),
    )


def _won(row: Columns) -> bool | None:
    """Return whether the rate is above one half; a loss must also hold after Holm's correction over the scores."""
    if row["low"] > 100 * CHANCE:
        return True
    return False if row["high"] < 100 * CHANCE and row["p"] < ALPHA else None


def plot(panels_of: Mapping[str, Sequence[Columns]], names: Mapping[str, str]) -> Any:
    """Plot a panel for each score: ours in blue, the paper's in grey with the interval for its number of prompts."""
    figure, axes = panels(1, len(COLUMNS), (2.3, 1.0 + 0.35 * max(map(len, panels_of.values()))), sharey=True)
    for axis, score in zip(axes, COLUMNS, strict=True):
        rows = panels_of[score]
        axis.axvline(50, color=PALE, linewidth=1)
        for place, row in enumerate(rows):
            ends = (row["paper"] - row["paper_half_width"], row["paper"] + row["paper_half_width"])
            axis.plot(ends, [place + 0.15] * 2, color="#888888", linewidth=2)
            axis.plot(row["paper"], place + 0.15, "D", color="#888888", markersize=4)
            if row["rate"] is not None:
                axis.plot((row["low"], row["high"]), [place - 0.15] * 2, color=BLUE, linewidth=2)
                axis.plot(row["rate"], place - 0.15, "o", color=BLUE, markersize=5)
        axis.set(title=score, xlim=(0, 100), yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
        axis.set_yticklabels(
            [" ".join(filter(None, (names.get(r["baseline"], r["baseline"]), r.get("on")))) for r in rows]
        )
    axes[0].set_xlabel("win-rate of Diffusion-KTO, %")
    return figure
