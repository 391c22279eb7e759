"""Table 2 of the paper: mean scores of all models on SD v1-5, beside those that others measured of the same weights."""

from collections.abc import Sequence
from typing import Any

from thumbtune.evaluation.standings import ALPHA, standings
from thumbtune.evaluation.win_rates import units
from thumbtune.experiments.contenders import (
    SD15,
    SIDE,
    gather,
    listed,
    notes,
    prompts_of,
    scorers_of,
    taking_part,
    told,
)
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.reported import MEASURED_AGAIN, SWAPPED, TABLE2, printed
from thumbtune.experiments.results import Claim, Result, verdict_of
from thumbtune.experiments.scores import draw, mean_of, shown
from thumbtune.experiments.table1 import SET


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Draw every model, score every image, average."""
    sides = taking_part(order, SD15, say)
    prompts = prompts_of(order, SET)
    found = gather(order, sides, "sd15", prompts, progress)
    unit, scorers = units(prompts.prompts), scorers_of(order)
    rows = [
        {"model": name, "score": score, "scorer": scorer, **mean_of(found[name].table(scorer, SIDE), unit)}
        | {"paper": paper}
        for name in TABLE2
        if name in found
        for (score, scorer), paper in zip(scorers.items(), printed(name), strict=True)
    ]
    names = {key: one.name for key, one in SD15.items()}
    changes = [
        {"rival": rival, **row}
        for rival in found
        if rival != "kto"
        for row in standings(told(found, rival, list(dict.fromkeys(scorers.values()))), prompts.prompts)
        if row["estimand"] == "median"
    ]
    return Result(
        title="Table 2: mean scores on SD v1-5",
        about=f"{len(prompts.prompts)} prompts ({prompts.name}), {found['kto'].plan.per_prompt} images of each by "
        "every model, with the same seeds.",
        figure=draw(rows, "model", names),
        caption="Blue: here, with 95 % intervals over prompts. Grey: the paper.",
        rows=rows,
        shown_rows=shown(rows, "model", names),
        claims=[highest(changes, len(sides) == len(SD15))],
        more={"Measured again by others, of the published weights": MEASURED_AGAIN, "Models": listed(SD15, sides)},
        notes=notes(order, SWAPPED),
    )


def highest(changes: Sequence[dict[str, Any]], all_there: bool) -> Claim:
    """That no rival has a higher mean by any score; the difference is paired by prompt and seed."""
    known = [row for row in changes if row["prompts"]]
    conditions = [_higher(row) for row in known] + ([] if all_there else [None])
    return Claim(
        "Diffusion-KTO has the highest mean by every score",
        "its mean less that of each rival, paired by prompt and seed, is above zero beyond chance.",
        verdict_of(*conditions) if known else verdict_of(None),
        "; ".join(
            f"{row['scorer']} against {row['rival']} {row['change']['mean']:+.3g} "
            f"({row['change']['low']:+.3g} to {row['change']['high']:+.3g})"
            for row in known
        )
        + ("" if all_there else "; not all rivals were drawn")
        + ".",
    )


def _higher(row: dict[str, Any]) -> bool | None:
    """Whether the mean is above the rival's; a loss must hold against as many tests as there are scores."""
    if row["change"]["low"] > 0:
        return True
    return False if row["change"]["high"] < 0 and row["holm"] < ALPHA else None
