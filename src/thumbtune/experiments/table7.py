"""Table 7 of the paper: win-rates of Diffusion-KTO on SD v2-1, on three sets of prompts."""

from thumbtune.experiments.contenders import SD21, gather, listed, notes, prompts_of, scorers_of, taking_part
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.reported import COLUMNS, SWAPPED, TABLE7
from thumbtune.experiments.results import Result
from thumbtune.experiments.winrates import draw, rates, shown, wins


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Draw every model on every set, score every image, count."""
    sides = taking_part(order, SD21, say)
    rows = []
    for name, paper in TABLE7.items():
        found = gather(order, sides, "sd21", prompts_of(order, name), progress)
        rows += rates(found, scorers_of(order), paper, on=name)
    names = {key: one.name for key, one in SD21.items()}
    return Result(
        title="Table 7: win-rates of Diffusion-KTO on SD v2-1",
        about="Three sets of prompts, the same seeds for all models; a prompt is won where the median score is higher.",
        figure=draw({score: [row for row in rows if row["score"] == score] for score in COLUMNS}, names),
        caption="Blue: here, with 95 % intervals over prompts. Grey: the paper, with the interval that so many prompts "
        "allow.",
        rows=rows,
        shown_rows=shown(rows, names, ("on", "rival")),
        claims=[
            wins([row for row in rows if row["on"] == name], rival, names[rival], f" on {name}")
            for name, paper in TABLE7.items()
            for rival in paper
        ],
        more={"Models": listed(SD21, sides)},
        notes=notes(
            order,
            "Nobody publishes the paper's tuned SD v2-1: Diffusion-KTO and Diffusion-DPO are trained here, by the "
            "recipe `paper-sd21`, which has the settings of SD v1-5, as the paper says.",
            SWAPPED,
        ),
    )
