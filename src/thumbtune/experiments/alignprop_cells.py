"""AlignProp on a ground: the reward is the small network's log-odds of what the person wants, and there are no labels.

The person's whole log-odds are known to it, at every image that it draws: an upper bound of what a reward model buys
over labels. A sixth of the rated prompts are held out, and their reward decides when to stop. The small network's
log-odds minus the judge's (`gap`) show how far the LoRA is fitted to that network.

The held-out reward rises as long as one trains, since other prompts are no other network. `enough` stops where the mean
reward is 5, at which the person's log-odds of a single image are cut off (`noisy_rater`); single images lie on both
sides. The reward is then measured twice as often, so training also stops after 20 steps without a new best, not 40.
"""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from thumbtune.evaluation.scorers.style_classifier import SMALL
from thumbtune.experiments import demo
from thumbtune.experiments.alignprop import Plan, Reward, passes_of, train_by_reward
from thumbtune.experiments.demo import style_classifier
from thumbtune.experiments.ground_cells import scored
from thumbtune.experiments.ground_labels import wanted_styles
from thumbtune.experiments.grounds import GROUNDS, Ground
from thumbtune.experiments.training_grid import QUICK_CONCEPTS, Grid, GridCell
from thumbtune.files import write_text
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.runs import build, run
from thumbtune.runs.recipe import Recipe, read_recipe, write_recipe
from thumbtune.training import records

HELD_OUT_EVERY = 6  # of the rated prompts, the first of every six is held out
LOOK_EVERY = 20  # steps
HELD_OUT_IMAGES = 4  # of each held-out prompt
FIRST_HELD_OUT_SEED = 20_000_000  # of no pool, demo or evaluation
SOURCE = "no labels: a reward, the log-odds of the wanted style by the small style network"


def reward_on(ground: Ground) -> Reward:
    """Return the differentiable log-odds of what the person wants, by the small network, not clipped."""

    def reward(pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        return style_classifier().log_odds_of_pixels(pixels, wanted_styles(ground, prompts), SMALL)

    return reward


def plan_of(cell: GridCell, recipe: Recipe, quick: bool = False, enough: float | None = None) -> Plan:
    """Return the plan of a cell: the rated prompts, the sampler of the evaluation, the batch of the recipe.

    enough: see `Plan`; with it the held-out reward is measured twice as often
    """
    concepts = demo.concepts()["rated"]
    prompts = [demo.prompt_of(concept) for concept in (concepts[:QUICK_CONCEPTS] if quick else concepts)]
    held_out = prompts[::HELD_OUT_EVERY]
    images = [prompt for prompt in held_out for _ in range(1 if quick else HELD_OUT_IMAGES)]
    return Plan(
        train=[prompt for prompt in prompts if prompt not in held_out],
        held_out=(images, [FIRST_HELD_OUT_SEED + 1000 * cell.seed + place for place in range(len(images))]),
        sampler=build.sampler_of(recipe),
        batch=recipe.train.batch,
        seed=cell.seed,
        enough=enough,
        every=LOOK_EVERY if enough is None else LOOK_EVERY // 2,
    )


def facts_of(enough: float | None = None) -> dict[str, Any]:
    """Return the constants that decide the row of `rewarded`, as rows store them."""
    plan = plan_of(GridCell(name="alignprop", seed=0), read_recipe(None), enough=enough)
    return {
        "enough": enough,
        "look_every": plan.every,
        "patience": plan.patience,
        "kept_steps": plan.kept,
        "held_out_every": HELD_OUT_EVERY,
        "held_out_images": HELD_OUT_IMAGES,
        "first_held_out_seed": FIRST_HELD_OUT_SEED,
    }


def rewarded(lab: Grid, cell: GridCell, enough: float | None = None) -> dict[str, Any]:
    """Tune by the reward, save the LoRA as a run, and return the cell's row.

    images:  those that were drawn to train on           passes: of images through the network, see `passes_of`
    rewards: step -> mean held-out reward                best_step: that of the result
    """
    recipe = lab.recipe_of(cell)
    model, plan = build.model_of(recipe), plan_of(cell, recipe, lab.order.quick, enough)

    def steps(count: int) -> Iterable[int]:
        return lab.progress(range(count), "Tuning by the reward")

    style_classifier()  # loaded before the clock starts, as the model is
    begun, wall = time.process_time(), time.perf_counter()
    found = train_by_reward(model, reward_on(GROUNDS[cell.ground]), plan, build.settings_of(recipe), steps)
    seconds, wall = time.process_time() - begun, time.perf_counter() - wall
    save_run(recipe, lab.run_of(cell), model, f"{GROUNDS[cell.ground].wants}.")
    images, looks = found.last * plan.batch, len(found.rewards) * len(plan.held_out[0])
    row = {
        "likes": 0,
        "dislikes": 0,
        "status": "trained",
        "images": images,
        "passes": images * passes_of(plan.sampler, plan.kept) + looks * passes_of(plan.sampler, 0),
        "rewards": {str(step): round(value, 3) for step, value in found.rewards.items()},
        "best_step": found.best,
        "kept_steps": plan.kept,
        "train_seconds": round(seconds, 1),
        "seconds": round(wall, 1),
    }
    return row | scored(lab, cell, run.trained_model(recipe, lab.run_of(cell)))


def save_run(recipe: Recipe, folder: Path, model: LatentDiffusion, person: str) -> None:
    """Write a run without labels: its recipe, what it was made from, and the LoRA in both forms."""
    story = {"source": SOURCE, "simulated": person, "notes": [], "prompt_prefix": None, "contrasts": False}
    write_text(folder / records.LIKES, json.dumps(story, indent=1))
    write_text(folder / records.ENVIRONMENT, json.dumps(run.environment(), indent=1))
    write_recipe(recipe, folder / "recipe.yaml")
    result = build.result_of(recipe)
    model.save((folder / result).parent)
    run.record_result(folder, result, records.LIKES, records.ENVIRONMENT, "recipe.yaml")
