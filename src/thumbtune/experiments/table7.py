"""Table 7 of the paper: win-rates of Diffusion-KTO on SD v2-1, on three sets of prompts."""

from thumbtune.experiments.compared_models import (
    SD21,
    available_models,
    gather_galleries,
    models_table,
    notes,
    prompts_of,
    scorers_of,
)
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.paper_numbers import COLUMNS, SWAPPED_NOTE, TABLE7
from thumbtune.experiments.result_page import Result
from thumbtune.experiments.win_rate_tables import claim_wins, page_rows_of, plot, win_rate_rows


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Generate images of every set with every model, score them, and count wins."""
    sides = available_models(order, SD21, say)
    rows = []
    for name, paper in TABLE7.items():
        galleries = gather_galleries(order, sides, "sd21", prompts_of(order, name), progress)
        rows += win_rate_rows(galleries, scorers_of(order), paper, on=name)
    names = {key: model.name for key, model in SD21.items()}
    return Result(
        title="Table 7: win-rates of Diffusion-KTO on SD v2-1",
        about="Three sets of prompts, with the same seeds for all models. The model with the higher median score wins "
        "a prompt.",
        figure=plot({score: [row for row in rows if row["score"] == score] for score in COLUMNS}, names),
        caption="Blue: measured here, with 95 % intervals over prompts. Grey: the paper, with the interval for its "
        "number of prompts.",
        rows=rows,
        page_rows=page_rows_of(rows, names, ("on", "baseline")),
        claims=[
            claim_wins([row for row in rows if row["on"] == name], baseline, names[baseline], f" on {name}")
            for name, paper in TABLE7.items()
            for baseline in paper
        ],
        more_tables={"Models": models_table(SD21, sides)},
        notes=notes(
            order,
            "Nobody publishes the paper's tuned SD v2-1. Train Diffusion-KTO and Diffusion-DPO with the recipe "
            "`paper-sd21`, which has the settings of SD v1-5, as the paper says.",
            SWAPPED_NOTE,
        ),
    )
