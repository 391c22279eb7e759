"""Figure 7 of the paper: a taste of one's own against the step; redness as there, and line art, which is no colour.

Red: the liked images are reddened copies, the disliked ones their originals. Line art: black ink is liked, anything
else is not. The same prompts, which nobody rated, and the same seeds are drawn before, half-way and after.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from thumbtune.duels.image_grid import ImageGrid, generate_side
from thumbtune.evaluation.gates import MAX_FAITHFULNESS_LOSS
from thumbtune.evaluation.scorers.judge import Judge
from thumbtune.evaluation.scorers.tastes import taste
from thumbtune.experiments import seeds as over
from thumbtune.experiments.canvas import BLUE, PALE, RED, panels
from thumbtune.experiments.cells import Cell, Lab, rows_of, trained
from thumbtune.experiments.demo import PEOPLE
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.results import Claim, Result, verdict_of
from thumbtune.experiments.summary import above, said
from thumbtune.runs import build
from thumbtune.training import checkpoint
from thumbtune.training.batches import quiet

SEEDS = 3
PARTS = 4  # the course is looked at so often
PER_PROMPT = 2
TASTES = ("red", "line-art")
SHOWN = 8  # prompts in the image
AT_ONCE = 16


def cells(order: Order) -> list[Cell]:
    """Both people, seed by seed, with the demo's settings and a checkpoint at every quarter."""
    return [
        Cell(
            name=name,
            seed=seed,
            taste=name,
            settings=(
                *PEOPLE[name].settings,
                f"train.checkpoint_every={steps_of(name) // PARTS}",
                f"evaluate.per_prompt={PER_PROMPT}",
            ),
        )
        for seed in order.demo_seeds(SEEDS)
        for name in TASTES
    ]


def steps_of(name: str) -> int:
    """How long the demo of that taste trains."""
    return next(int(s.partition("=")[2]) for s in PEOPLE[name].settings if s.startswith("train.steps="))


def looked_at(steps: int, every: int) -> list[int]:
    """The steps of which there are images: none yet, each part, and the end.

    >>> looked_at(125, 31), looked_at(2, 1)
    ([0, 31, 62, 93, 125], [0, 1, 2])
    """
    return [0, *[k * every for k in range(1, PARTS) if k * every < steps], steps]


def course(lab: Lab, cell: Cell) -> dict[str, Any]:
    """Train, then draw and score the held-out prompts at each of the steps."""
    row = trained(lab, cell)
    if row["status"] != "trained":
        return row
    recipe = lab.recipe_of(cell)
    steps = looked_at(recipe.train.steps, recipe.train.checkpoint_every)
    duel = duel_of(lab, cell)
    model = build.model_of(recipe)
    judge = Judge(build.BUNDLED / "judge")
    each = []
    for step in lab.progress(steps, "Drawing the course"):
        if step:
            put(checkpoint.folder_of(lab.run_of(cell), step) / "weights.safetensors", model)
        with nullcontext() if step else model.reference():
            generate_side(duel, f"step-{step:06d}", model.generate, quiet, AT_ONCE)
        each.append({"step": step, **scored(duel, f"step-{step:06d}", cell.taste, judge)})
    return row | {"course": each}


def duel_of(lab: Lab, cell: Cell) -> ImageGrid:
    """Where the images of a course lie, and what they show."""
    recipe = lab.recipe_of(cell)
    return ImageGrid(
        folder=lab.run_of(cell) / "course",
        prompts=lab.prompts(),
        per_prompt=recipe.evaluate.per_prompt,
        first_seed=recipe.evaluate.first_seed,
        sampler=build.sampler_of(recipe),
    )


def put(file: Path, model: Any) -> None:
    """A checkpoint's weights into a model."""
    weights = load_file(file)
    with torch.no_grad():
        for name, parameter in model.trainable():
            parameter.copy_(weights[name])


def scored(duel: ImageGrid, side: str, name: str, judge: Judge) -> dict[str, float]:
    """Mean taste and mean faithfulness of a side."""
    wanted, faithful = [], []
    for place, prompt in enumerate(duel.prompts):
        images = duel.images(side, place)
        wanted += [taste(name).score(image) for image in images]
        faithful += judge.score(images, [prompt] * len(images)).tolist()
    return {"taste": float(np.mean(wanted)), "faithfulness": float(np.mean(faithful))}


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each step of each course."""
    return [
        {"taste": row["taste"], "seed": row["seed"], "step": at["step"]}
        | {"score": at["taste"], "faithfulness": at["faithfulness"], "status": row["status"]}
        for row in rows
        for at in row.get("course", ())
    ]


def at_steps(rows: Sequence[Mapping[str, Any]], name: str, measure: str) -> dict[int, list[float]]:
    """step -> the measure, a value for each seed."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["taste"] == name:
            found.setdefault(row["step"], []).append(row[measure])
    return dict(sorted(found.items()))


def claims_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[Claim]:
    """That the taste is met more and more, and that the prompt still is."""
    score, faithful = (at_steps(rows, name, measure) for measure in ("score", "faithfulness"))
    if not score:
        return []
    steps = list(score)
    half, end = steps[len(steps) // 2], steps[-1]
    first = [b - a for a, b in zip(score[0], score[half], strict=True)]
    second = [b - a for a, b in zip(score[half], score[end], strict=True)]
    lost = [b / a - 1 for a, b in zip(faithful[0], faithful[end], strict=True)]
    return [
        Claim(
            f"Tuned to {name}, the model's images meet that taste more and more"
            + (" (the paper's redness)" if name == "red" else " (a taste that is no colour, and not in the paper)"),
            "the mean score rises from step 0 to half-way, and from there to the end, beyond chance.",
            verdict_of(above(first), above(second)),
            f"{over.said(score[0])} at 0, {over.said(score[half])} at {half}, {over.said(score[end])} at {end}; "
            f"rises {said(first)} and {said(second)}.",
        ),
        Claim(
            f"Tuned to {name}, it still draws what the prompt asks",
            "faithfulness, by a judge that no training sees, falls by no more than "
            f"{MAX_FAITHFULNESS_LOSS:.0%}, beyond chance.",
            verdict_of(above(lost, -MAX_FAITHFULNESS_LOSS)),
            f"{over.said(faithful[0])} at 0, {over.said(faithful[end])} at {end}; change {said(lost, '+.1%')}.",
        ),
    ]


def mosaic(duel: ImageGrid, steps: Sequence[int]) -> np.ndarray:
    """Rows: before, half-way and after; columns: prompts, at their first seed."""
    size = min(SHOWN, len(duel.prompts))
    chosen = [steps[0], steps[len(steps) // 2], steps[-1]]
    rows = [[np.asarray(duel.images(f"step-{step:06d}", place)[0]) for place in range(size)] for step in chosen]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


def draw(lab: Lab, all_cells: Sequence[Cell], rows: Sequence[Mapping[str, Any]]) -> Any:
    """For each taste: its score and the faithfulness against the step, and the images of the first seed."""
    figure, axes = panels(len(TASTES), 3, (3.4, 2.3), width_ratios=(1, 1, 1.7))
    for place, name in enumerate(TASTES):
        curve, judge, image = axes[3 * place : 3 * place + 3]
        for axis, measure, colour in ((curve, "score", RED if name == "red" else BLUE), (judge, "faithfulness", BLUE)):
            at = at_steps(rows, name, measure)
            for seed in range(max(map(len, at.values()), default=0)):
                axis.plot(list(at), [values[seed] for values in at.values()], color=PALE, linewidth=1)
            axis.plot(list(at), [np.mean(values) for values in at.values()], "o-", color=colour)
            axis.set(title=f"{name}: {'taste' if measure == 'score' else measure}", xlabel="step")
        judge.set_ylim(0, 1.02)
        image.axis("off")
        first = next(cell for cell in all_cells if cell.taste == name)
        steps = list(at_steps(rows, name, "score"))
        if steps:
            image.imshow(mosaic(duel_of(lab, first), steps), interpolation="nearest")
            image.set_title(f"seed {first.seed}, steps {steps[0]}, {steps[len(steps) // 2]}, {steps[-1]}")
    return figure


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Both courses, drawn, scored and decided."""
    lab, wanted = Lab(order, progress, say), cells(order)
    rows = table(rows_of(lab, wanted, course))
    shown = [
        {"taste": name, "step": step, "score": over.said(score), "faithfulness": over.said(faithful)}
        for name in TASTES
        for (step, score), faithful in zip(
            at_steps(rows, name, "score").items(), at_steps(rows, name, "faithfulness").values(), strict=True
        )
    ]
    return Result(
        title="Figure 7: a taste against the step",
        about="The bundled model, tuned with the demo's recipe to two simulated tastes, looked at along the way on "
        f"prompts that nobody rated, {PER_PROMPT} images each.",
        figure=draw(lab, wanted, rows),
        caption="Grey: single seeds; colour: their mean. Images: rows are before, half-way and after, columns "
        "prompts with one seed each.",
        rows=rows,
        shown_rows=shown,
        claims=[claim for name in TASTES for claim in claims_of(rows, name)],
        notes=(
            "Redness is the mean of red less the mean of all channels, as in the paper; how far its liked images "
            "were reddened is not told there: ours are scaled by 1.4 in red and 0.6 in green and blue.",
            "Both recipes end with a falling rate, so that the second half moves less than the first.",
        ),
    )
