"""Rounds on a ground: the person rates images of the model in training, and one training goes on with all labels.

round 1   images of the base           train steps 1 .. S/R
round r   images of the tuned model    train steps (r - 1) S/R + 1 .. r S/R          of S steps and R rounds

The rated images of all rounds have the prompts and the seeds of the ground's pool, so there are as many labels, and as
many steps, as in one round. The first reference, the optimiser and the schedule are kept; only the labels grow
(`runs.rounds`).

likes   round r takes the r-th part of the pool in its order, which goes round the prompts: each round holds them all
pairs   round r takes all images of a third of the prompts; images 1 and 2, 3 and 4, ... of a prompt are compared. So no
        image is compared with one of another round, which another model generated. Training pairs any winner of a
        prompt with any loser of it, as it does everywhere
"""

import math
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from thumbtune.evaluation.scorers.style_classifier import SMALL
from thumbtune.experiments import ground_labels
from thumbtune.experiments.demo import LabelledImage
from thumbtune.experiments.ground_cells import scored
from thumbtune.experiments.grounds import GROUNDS, Ground
from thumbtune.experiments.noisy_rater import image_key, prefers, uniform
from thumbtune.experiments.simulated_labels import PoolImage, generate_missing, import_labels
from thumbtune.experiments.step_clock import StepClock
from thumbtune.experiments.training_grid import (
    DIVERGED_STATUS,
    Grid,
    GridCell,
    not_trainable,
    pool_of,
    pool_sampler,
    rating_in,
)
from thumbtune.runs import rounds, run
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.tuning import tune
from thumbtune.training import checkpoint
from thumbtune.training.progress import Sized
from thumbtune.training.trainer import MemoryRanOut, TrainingBroke

ROUNDS = 3


def parts_by_image(pool: Sequence[PoolImage], count: int) -> list[list[PoolImage]]:
    """Return the pool in `count` parts of equal size, in its order: it goes round and round the prompts."""
    return [list(pool[len(pool) * r // count : len(pool) * (r + 1) // count]) for r in range(count)]


def parts_by_prompt(pool: Sequence[PoolImage], count: int) -> list[list[PoolImage]]:
    """Return the pool in `count` parts, each with all images of some of the prompts."""
    prompts = list(dict.fromkeys(one.prompt for one in pool))
    part_of = {prompt: place * count // len(prompts) for place, prompt in enumerate(prompts)}
    return [[one for one in pool if part_of[one.prompt] == r] for r in range(count)]


def preferred_labels(images: Sequence[PoolImage], ground: Ground, seed: int) -> list[LabelledImage]:
    """Return a like of the preferred and a dislike of the other image of each pair; a draw gives no labels.

    Images 1 and 2, 3 and 4, ... of a prompt are a pair; the last of an odd number is left out. The ground's share of
    wrong labels is a share of pairs here, on average.
    """
    opened = [one.image() for one in images]
    odds = ground_labels.log_odds(ground, opened, [one.prompt for one in images], SMALL)
    keys = [image_key(image) for image in opened]
    by_prompt: dict[str, list[int]] = {}
    for place, one in enumerate(images):
        by_prompt.setdefault(one.prompt, []).append(place)
    labels: list[LabelledImage] = []
    flipped = ground.flipped
    for places in by_prompt.values():
        for a, b in zip(places[::2], places[1::2], strict=False):
            is_first = prefers((odds[a], odds[b]), ground.tau, seed, (keys[a], keys[b]))
            if is_first is None:
                continue
            is_first ^= uniform(seed, "turned", keys[a], keys[b]) < flipped
            for place, liked in ((a, is_first), (b, not is_first)):
                one = images[place]
                labels.append((one.file.name, opened[place], one.prompt, liked, one.seed))
    return labels


def facts_of(count: int = ROUNDS, is_paired: bool = False) -> dict[str, Any]:
    """Return the constants that decide the row of `in_rounds`, as rows store them."""
    return {"rounds": count, "pairs": is_paired}


def in_rounds(lab: Grid, cell: GridCell, count: int = ROUNDS, is_paired: bool = False) -> dict[str, Any]:
    """Train in rounds, and return the cell's row.

    rounds: of each round its step, likes and dislikes
    train_seconds: of the processor, see `StepClock`; None if an earlier call took some of the steps
    generate_seconds: the same for the images of later rounds, None if some were there; the first ones are the pool
    """
    folder = lab.order.folder / "likes" / f"{cell.ground}-{cell.name}-seed-{cell.seed}"
    recipe = lab.recipe_of(cell).model_copy(update={"likes": str(folder / "store")})
    parts = (parts_by_prompt if is_paired else parts_by_image)(pool_of(lab, cell), count)
    row: dict[str, Any] = {"likes": 0, "dislikes": 0, "status": "trained", "rounds": []}
    clock, generating = StepClock(), 0.0
    for number, part in enumerate(parts):
        begun = time.process_time()
        images = part if number == 0 else _generated(lab, cell, part, folder / f"round-{number + 1}")
        generating += time.process_time() - begun
        labels = _labels(lab, cell, images, is_paired)
        import_labels(folder / f"round-{number + 1}", labels, cell.taste, store=folder / "store")
        start, stop = (math.ceil(recipe.train.steps * r / count) for r in (number, number + 1))
        # of the labels, not of the store: after a stop half-way it has those of later rounds too
        likes = sum(liked for _, _, _, liked, _ in labels)
        row["rounds"].append({"until": stop, "likes": likes, "dislikes": len(labels) - likes})
        row["likes"] += likes
        row["dislikes"] += len(labels) - likes
        status = _train_until(lab, cell, recipe, (start, stop), clock)
        if status is not None:
            return row | {"status": status}
    seconds = {
        "train_seconds": clock.seconds,
        "generate_seconds": None if clock.seconds is None else round(generating, 1),
    }
    return row | seconds | scored(lab, cell, run.trained_model(recipe, lab.run_of(cell)))


def _generated(lab: Grid, cell: GridCell, part: Sequence[PoolImage], folder: Path) -> list[PoolImage]:
    """Return images of a cell's model so far at the prompts and seeds of a part of the pool; those there are kept."""
    wanted = [PoolImage(folder / one.file.name, one.prompt, one.seed) for one in part]
    generate_missing(wanted, lambda: rounds.model_so_far(lab.run_of(cell)), pool_sampler(lab, cell), lab.progress)
    return wanted


def _labels(lab: Grid, cell: GridCell, images: Sequence[PoolImage], is_paired: bool) -> list[LabelledImage]:
    ground = GROUNDS[cell.ground]
    if is_paired:
        return preferred_labels(images, ground, cell.seed)
    return ground_labels.rate_pool(images, ground, rating_in(lab, cell.rating), cell.seed)


def _train_until(lab: Grid, cell: GridCell, recipe: Recipe, part: tuple[int, int], clock: StepClock) -> str | None:
    """Train a part of the steps, (from, to), with all labels of the store, and stop as Ctrl-C does.

    Return a failure's status, or None; steps that an earlier call took are not taken again.
    """
    folder, (start, stop) = lab.run_of(cell), part
    if (why_not := not_trainable(recipe)) is not None:
        return why_not
    done = (checkpoint.steps_in(folder) or [0])[-1]
    if done >= stop:
        if start < stop:
            clock.miss()
        return None
    if done:
        rounds.take_new_labels(recipe, folder)
    story = {"source": "an experiment's rounds of labels", "simulated": cell.person}
    steps = tune(recipe, folder, lab.progress, resume=True, story=story)
    count = stop - done
    upto = steps if stop == recipe.train.steps else islice(steps, count)
    try:
        for _ in lab.progress(Sized(clock.timed(upto, start + 1), count), "Tuning"):
            pass
        steps.close()  # type: ignore[attr-defined]  # a generator: it saves a checkpoint
    except MemoryRanOut:
        raise
    except TrainingBroke as error:
        return f"{DIVERGED_STATUS}: {error}"
    return None
