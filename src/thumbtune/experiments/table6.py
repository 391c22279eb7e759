"""Table 6 of the paper: mean scores of Diffusion-KTO by the styles of HPS v2's prompts."""

from thumbtune.evaluation.win_rates import units
from thumbtune.experiments.compared_models import (
    SD15,
    SIDE,
    available_models,
    gather_galleries,
    models_table,
    notes,
    prompts_of,
    scorers_of,
)
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.paper_numbers import TABLE6
from thumbtune.experiments.result_page import Result
from thumbtune.experiments.score_tables import mean_of, page_rows_of, plot

SET = "hpsv2"


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Generate images with Diffusion-KTO alone, score them, and take means by style."""
    sides = {name: side for name, side in available_models(order, SD15, lambda _: None).items() if name == "kto"}
    prompts = prompts_of(order, SET)
    galleries = gather_galleries(order, sides, order.models.get("sd15") or str(SD15["sd15"].side), prompts, progress)
    scorers, styles = scorers_of(order), prompts.styles or ()
    rows = []
    for style, paper in TABLE6.items():
        chosen = [i for i, one in enumerate(styles) if one == style]
        if not chosen:  # --limit left out all prompts of this style
            continue
        unit = units([prompts.prompts[i] for i in chosen])
        for (score, scorer), reported in zip(scorers.items(), paper, strict=True):
            table = galleries["kto"].table(scorer, SIDE)
            rows.append({"style": style, "score": score, "scorer": scorer})
            rows[-1] |= mean_of([table[i] for i in chosen], unit) | {"paper": reported}
    say(f"{len(rows) // len(scorers)} of {len(TABLE6)} styles.")
    return Result(
        title="Table 6: mean scores of Diffusion-KTO by style",
        about=f"{len(prompts.prompts)} prompts ({prompts.name}), {galleries['kto'].plan.per_prompt} images of each.",
        figure=plot(rows, "style", {}),
        caption="Blue: measured here, with 95 % intervals over prompts. Grey: the paper.",
        rows=rows,
        page_rows=page_rows_of(rows, "style", {}),
        more_tables={"Models": [line for line in models_table(SD15, sides) if line["generated with"] != "left out"]},
        notes=notes(
            order,
            "The paper's column of HPS v2, 0.33 to 0.37, fits neither version of that scorer: SD v1-4 scores 0.27 by "
            "version 2.0 and 0.25 by version 2.1.",
        ),
    )
