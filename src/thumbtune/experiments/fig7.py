"""Figure 7 of the paper: a taste against the step. Redness, as in the paper, and line art, which is not a colour.

Red: the liked images are reddened copies, the disliked ones their originals. Line art: black ink is liked, all else
is disliked. Images of the same prompts, which the person did not rate, and seeds are generated at several steps.
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
from thumbtune.evaluation.scorers.faithfulness import FaithfulnessJudge
from thumbtune.evaluation.scorers.tastes import get_taste
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.figures import BLUE, PALE, RED, panels
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.experiments.seed_statistics import change_text, is_above, mean_text
from thumbtune.experiments.training_grid import DEMO_SETTINGS, Grid, GridCell, run_grid, trained
from thumbtune.runs import build
from thumbtune.training import checkpoint
from thumbtune.training.progress import quiet

SEEDS = 3
QUARTERS = 4  # the number of checkpoints with images
PER_PROMPT = 2
TASTES = ("red", "line-art")
SHOWN_PROMPTS = 8  # in the figure
IMAGES_AT_ONCE = 16


def cells(order: Order) -> list[GridCell]:
    """Return the cells, seed by seed: both people, with the demo's settings and a checkpoint at every quarter."""
    return [
        GridCell(
            name=name,
            seed=seed,
            taste=name,
            settings=(
                *DEMO_SETTINGS[name],
                f"train.checkpoint_every={steps_of(name) // QUARTERS}",
                f"evaluate.per_prompt={PER_PROMPT}",
            ),
        )
        for seed in order.demo_seeds(SEEDS)
        for name in TASTES
    ]


def steps_of(name: str) -> int:
    """Return the number of steps of the demo of that taste."""
    return next(int(s.partition("=")[2]) for s in DEMO_SETTINGS[name] if s.startswith("train.steps="))


def steps_with_images(steps: int, every: int) -> list[int]:
    """Return the steps with images: 0, each quarter, and the last.

    >>> steps_with_images(125, 31), steps_with_images(2, 1)
    ([0, 31, 62, 93, 125], [0, 1, 2])
    """
    return [0, *[k * every for k in range(1, QUARTERS) if k * every < steps], steps]


def training_course(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Train, then generate and score images of the held-out prompts at each of the steps; return the row."""
    row = trained(lab, cell)
    if row["status"] != "trained":
        return row
    recipe = lab.recipe_of(cell)
    steps = steps_with_images(recipe.train.steps, recipe.train.checkpoint_every)
    image_grid = image_grid_of(lab, cell)
    model = build.model_of(recipe)
    judge = FaithfulnessJudge(build.BUNDLED / "judge")
    course = []
    for step in lab.progress(steps, "Generating images at each step"):
        if step:
            load_weights(checkpoint.folder_of(lab.run_of(cell), step) / "weights.safetensors", model)
        with nullcontext() if step else model.reference():
            generate_side(image_grid, f"step-{step:06d}", model.generate, quiet, IMAGES_AT_ONCE)
        course.append({"step": step, **mean_scores(image_grid, f"step-{step:06d}", cell.taste, judge)})
    return row | {"course": course}


def image_grid_of(lab: Grid, cell: GridCell) -> ImageGrid:
    """Return the folder, prompts and seeds of a cell's images."""
    recipe = lab.recipe_of(cell)
    return ImageGrid(
        folder=lab.run_of(cell) / "course",
        prompts=lab.prompts(),
        per_prompt=recipe.evaluate.per_prompt,
        first_seed=recipe.evaluate.first_seed,
        sampler=build.sampler_of(recipe),
    )


def load_weights(file: Path, model: Any) -> None:
    """Copy a checkpoint's weights into a model."""
    weights = load_file(file)
    with torch.no_grad():
        for name, parameter in model.trainable():
            parameter.copy_(weights[name])


def mean_scores(image_grid: ImageGrid, side: str, name: str, judge: FaithfulnessJudge) -> dict[str, float]:
    """Return the mean taste and the mean faithfulness of one side's images."""
    wanted, faithful = [], []
    for place, prompt in enumerate(image_grid.prompts):
        images = image_grid.images(side, place)
        wanted += [get_taste(name).score(image) for image in images]
        faithful += judge.score(images, [prompt] * len(images)).tolist()
    return {"taste": float(np.mean(wanted)), "faithfulness": float(np.mean(faithful))}


def table_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each step of each cell."""
    return [
        {"taste": row["taste"], "seed": row["seed"], "step": at["step"]}
        | {"score": at["taste"], "faithfulness": at["faithfulness"], "status": row["status"]}
        for row in rows
        for at in row.get("course", ())
    ]


def values_by_step(rows: Sequence[Mapping[str, Any]], name: str, measure: str) -> dict[int, list[float]]:
    """Return step -> the measure, a value for each seed."""
    values: dict[int, list[float]] = {}
    for row in rows:
        if row["taste"] == name:
            values.setdefault(row["step"], []).append(row[measure])
    return dict(sorted(values.items()))


def claims_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[Claim]:
    """Return the claims that the taste score rises, and that images still show their prompt."""
    score, faithful = (values_by_step(rows, name, measure) for measure in ("score", "faithfulness"))
    if not score:
        return []
    steps = list(score)
    half, end = steps[len(steps) // 2], steps[-1]
    first = [b - a for a, b in zip(score[0], score[half], strict=True)]
    second = [b - a for a, b in zip(score[half], score[end], strict=True)]
    lost = [b / a - 1 for a, b in zip(faithful[0], faithful[end], strict=True)]
    return [
        Claim(
            f"Tuned to {name}, the model's images match that taste more and more"
            + (" (the paper's redness)" if name == "red" else " (a taste that is not a colour, and not in the paper)"),
            "the mean score rises from step 0 to the middle, and from there to the end, beyond chance.",
            verdict_of(is_above(first), is_above(second)),
            f"{mean_text(score[0])} at 0, {mean_text(score[half])} at {half}, {mean_text(score[end])} at {end}; "
            f"rises {change_text(first)} and {change_text(second)}.",
        ),
        Claim(
            f"Tuned to {name}, its images still show their prompt",
            "faithfulness, by a judge that no training uses, falls by no more than "
            f"{MAX_FAITHFULNESS_LOSS:.0%}, beyond chance.",
            verdict_of(is_above(lost, -MAX_FAITHFULNESS_LOSS)),
            f"{mean_text(faithful[0])} at 0, {mean_text(faithful[end])} at {end}; change {change_text(lost, '+.1%')}.",
        ),
    ]


def mosaic(image_grid: ImageGrid, steps: Sequence[int]) -> np.ndarray:
    """Return the images as rows before, half-way and after, and columns of prompts at their first seed."""
    size = min(SHOWN_PROMPTS, len(image_grid.prompts))
    chosen = [steps[0], steps[len(steps) // 2], steps[-1]]
    rows = [[np.asarray(image_grid.images(f"step-{step:06d}", place)[0]) for place in range(size)] for step in chosen]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


def plot(lab: Grid, all_cells: Sequence[GridCell], rows: Sequence[Mapping[str, Any]]) -> Any:
    """Plot, for each taste, its score and the faithfulness against the step, and images of the first seed."""
    figure, axes = panels(len(TASTES), 3, (3.4, 2.3), width_ratios=(1, 1, 1.7))
    for place, name in enumerate(TASTES):
        curve, judge, image = axes[3 * place : 3 * place + 3]
        for axis, measure, colour in ((curve, "score", RED if name == "red" else BLUE), (judge, "faithfulness", BLUE)):
            at = values_by_step(rows, name, measure)
            for seed in range(max(map(len, at.values()), default=0)):
                axis.plot(list(at), [values[seed] for values in at.values()], color=PALE, linewidth=1)
            axis.plot(list(at), [np.mean(values) for values in at.values()], "o-", color=colour)
            axis.set(title=f"{name}: {'taste' if measure == 'score' else measure}", xlabel="step")
        judge.set_ylim(0, 1.02)
        image.axis("off")
        first = next(cell for cell in all_cells if cell.taste == name)
        steps = list(values_by_step(rows, name, "score"))
        if steps:
            image.imshow(mosaic(image_grid_of(lab, first), steps), interpolation="nearest")
            image.set_title(f"seed {first.seed}, steps {steps[0]}, {steps[len(steps) // 2]}, {steps[-1]}")
    return figure


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train to both tastes, score the images of each step, and decide the claims."""
    lab, wanted = Grid(order, progress, say), cells(order)
    rows = table_rows(run_grid(lab, wanted, training_course))
    shown = [
        {
            "taste": name,
            "step": step,
            "score": mean_text(score),
            "faithfulness": mean_text(faithful),
        }
        for name in TASTES
        for (step, score), faithful in zip(
            values_by_step(rows, name, "score").items(),
            values_by_step(rows, name, "faithfulness").values(),
            strict=True,
        )
    ]
    return Result(
        title="Figure 7: a taste against the step",
        about="The bundled model, tuned with the demo's recipe to two simulated tastes. At each step shown, it "
        f"generates {PER_PROMPT} images for each prompt that the person did not rate.",
        figure=plot(lab, wanted, rows),
        caption="Grey: single seeds. Colour: their mean. Images: the rows are before, half-way and after; the columns "
        "are prompts with one seed each.",
        rows=rows,
        page_rows=shown,
        claims=[claim for name in TASTES for claim in claims_of(rows, name)],
        notes=(
            "Redness is the mean of red minus the mean of all channels, as in the paper. The paper does not give how "
            "much its liked images were reddened; ours are scaled by 1.4 in red and 0.6 in green and blue.",
            "Both recipes end with a falling learning rate, so that the second half changes less than the first.",
        ),
    )
