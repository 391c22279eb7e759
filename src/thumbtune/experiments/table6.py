"""Table 6 of the paper: mean scores of Diffusion-KTO by the styles of HPS v2's prompts."""

from thumbtune.evaluation.win_rates import units
from thumbtune.experiments.contenders import SD15, SIDE, gather, listed, notes, prompts_of, scorers_of, taking_part
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.reported import TABLE6
from thumbtune.experiments.results import Result
from thumbtune.experiments.scores import draw, mean_of, shown

SET = "hpsv2"


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Draw Diffusion-KTO alone, score every image, average by style."""
    sides = {name: side for name, side in taking_part(order, SD15, lambda _: None).items() if name == "kto"}
    prompts = prompts_of(order, SET)
    found = gather(order, sides, order.models.get("sd15") or str(SD15["sd15"].side), prompts, progress)
    scorers, styles = scorers_of(order), prompts.styles or ()
    rows = []
    for style, paper in TABLE6.items():
        chosen = [i for i, one in enumerate(styles) if one == style]
        if not chosen:  # of a set that was cut short
            continue
        unit = units([prompts.prompts[i] for i in chosen])
        for (score, scorer), reported in zip(scorers.items(), paper, strict=True):
            table = found["kto"].table(scorer, SIDE)
            rows.append({"style": style, "score": score, "scorer": scorer})
            rows[-1] |= mean_of([table[i] for i in chosen], unit) | {"paper": reported}
    say(f"{len(rows) // len(scorers)} of {len(TABLE6)} styles.")
    return Result(
        title="Table 6: mean scores of Diffusion-KTO by style",
        about=f"{len(prompts.prompts)} prompts ({prompts.name}), {found['kto'].plan.per_prompt} images of each.",
        figure=draw(rows, "style", {}),
        caption="Blue: here, with 95 % intervals over prompts. Grey: the paper.",
        rows=rows,
        shown_rows=shown(rows, "style", {}),
        more={"Models": [line for line in listed(SD15, sides) if line["drawn with"] != "left out"]},
        notes=notes(
            order,
            "The paper's column of HPS v2, 0.33 to 0.37, is on neither of its two scales: SD v1-4 has 0.27 by version "
            "2.0 and 0.25 by 2.1.",
        ),
    )
