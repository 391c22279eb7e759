"""Table 1 of the paper: how often Diffusion-KTO's median image scores higher than each rival's, on SD v1-5."""

from thumbtune.experiments.contenders import SD15, gather, listed, notes, prompts_of, scorers_of, taking_part
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.reported import COLUMNS, NARROW, SWAPPED, TABLE1
from thumbtune.experiments.results import Result
from thumbtune.experiments.winrates import draw, rates, shown, wins

SET = "pickapic-v2-test"


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Draw every model, score every image, count."""
    sides = taking_part(order, SD15, say)
    prompts = prompts_of(order, SET)
    found = gather(order, sides, "sd15", prompts, progress)
    rows = rates(found, scorers_of(order), TABLE1)
    names = {key: one.name for key, one in SD15.items()}
    return Result(
        title="Table 1: win-rates of Diffusion-KTO on SD v1-5",
        about=f"{len(prompts.prompts)} prompts ({prompts.name}), {found['kto'].plan.per_prompt} images of each by "
        "every model, with the same seeds; a prompt is won where the median score is higher.",
        figure=draw({score: [row for row in rows if row["score"] == score] for score in COLUMNS}, names),
        caption="Blue: here, with 95 % intervals over prompts. Grey: the paper, with the interval that so many prompts "
        "allow.",
        rows=rows,
        shown_rows=shown(rows, names),
        claims=[wins(rows, rival, names[rival]) for rival in TABLE1],
        more={"Models": listed(SD15, sides)},
        notes=notes(order, SWAPPED, NARROW),
    )
