"""Table 2 of the paper: mean scores of all models on SD v1-5, beside others' measurements of the same weights."""

from collections.abc import Sequence
from typing import Any

from thumbtune.evaluation.standings import ALPHA, standings
from thumbtune.evaluation.win_rates import units
from thumbtune.experiments.compared_models import (
    SD15,
    SIDE,
    available_models,
    gather_galleries,
    models_table,
    notes,
    paired_scores,
    prompts_of,
    scorers_of,
)
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.paper_numbers import MEASURED_AGAIN, SWAPPED_NOTE, TABLE2, table2_row
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.score_tables import mean_of, page_rows_of, plot
from thumbtune.experiments.table1 import SET


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Generate images with every model, score them, and take means."""
    sides = available_models(order, SD15, say)
    prompts = prompts_of(order, SET)
    galleries = gather_galleries(order, sides, "sd15", prompts, progress)
    unit, scorers = units(prompts.prompts), scorers_of(order)
    rows = [
        {"model": name, "score": score, "scorer": scorer, **mean_of(galleries[name].table(scorer, SIDE), unit)}
        | {"paper": paper}
        for name in TABLE2
        if name in galleries
        for (score, scorer), paper in zip(scorers.items(), table2_row(name), strict=True)
    ]
    names = {key: model.name for key, model in SD15.items()}
    changes = [
        {"baseline": baseline, **row}
        for baseline in galleries
        if baseline != "kto"
        for row in standings(paired_scores(galleries, baseline, list(dict.fromkeys(scorers.values()))), prompts.prompts)
        if row["estimand"] == "median"
    ]
    return Result(
        title="Table 2: mean scores on SD v1-5",
        about=f"{len(prompts.prompts)} prompts ({prompts.name}), {galleries['kto'].plan.per_prompt} images of each by "
        "every model, with the same seeds.",
        figure=plot(rows, "model", names),
        caption="Blue: measured here, with 95 % intervals over prompts. Grey: the paper.",
        rows=rows,
        page_rows=page_rows_of(rows, "model", names),
        claims=[claim_highest(changes, len(sides) == len(SD15))],
        more_tables={
            "Measured again by others, of the published weights": MEASURED_AGAIN,
            "Models": models_table(SD15, sides),
        },
        notes=notes(order, SWAPPED_NOTE),
    )


def claim_highest(changes: Sequence[dict[str, Any]], all_there: bool) -> Claim:
    """Return the claim that no baseline has a higher mean by any score; differences are paired by prompt and seed."""
    known = [row for row in changes if row["prompts"]]
    conditions = [_higher(row) for row in known] + ([] if all_there else [None])
    return Claim(
        "Diffusion-KTO has the highest mean by every score",
        "the 95 % interval of its mean minus that of each baseline, paired by prompt and seed, lies above zero.",
        verdict_of(*conditions) if known else verdict_of(None),
        "; ".join(
            f"{row['scorer']} against {row['baseline']} {row['change']['mean']:+.3g} "
            f"({row['change']['low']:+.3g} to {row['change']['high']:+.3g})"
            for row in known
        )
        + ("" if all_there else "; not all baselines took part")
        + ".",
    )


def _higher(row: dict[str, Any]) -> bool | None:
    """Return whether the mean is above the baseline's; a loss must also hold after Holm's correction over scores."""
    if row["change"]["low"] > 0:
        return True
    return False if row["change"]["high"] < 0 and row["holm"] < ALPHA else None
