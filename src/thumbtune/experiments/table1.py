"""Table 1 of the paper: how often Diffusion-KTO's median image scores higher than each baseline's, on SD v1-5."""

from thumbtune.experiments.compared_models import (
    SD15,
    available_models,
    gather_galleries,
    models_table,
    notes,
    prompts_of,
    scorers_of,
)
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.paper_numbers import COLUMNS, NARROW_NOTE, SWAPPED_NOTE, TABLE1
from thumbtune.experiments.result_page import Result
from thumbtune.experiments.win_rate_tables import claim_wins, page_rows_of, plot, win_rate_rows

SET = "pickapic-v2-test"


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Generate images with every model, score them, and count wins."""
    sides = available_models(order, SD15, say)
    prompts = prompts_of(order, SET)
    galleries = gather_galleries(order, sides, "sd15", prompts, progress)
    rows = win_rate_rows(galleries, scorers_of(order), TABLE1)
    names = {key: model.name for key, model in SD15.items()}
    return Result(
        title="Table 1: win-rates of Diffusion-KTO on SD v1-5",
        about=f"{len(prompts.prompts)} prompts ({prompts.name}), {galleries['kto'].plan.per_prompt} images of each by "
        "every model, with the same seeds. The model with the higher median score wins a prompt.",
        figure=plot({score: [row for row in rows if row["score"] == score] for score in COLUMNS}, names),
        caption="Blue: measured here, with 95 % intervals over prompts. Grey: the paper, with the interval for its "
        "number of prompts.",
        rows=rows,
        page_rows=page_rows_of(rows, names),
        claims=[claim_wins(rows, baseline, names[baseline]) for baseline in TABLE1],
        more_tables={"Models": models_table(SD15, sides)},
        notes=notes(order, SWAPPED_NOTE, NARROW_NOTE),
    )
