"""Which unrated images to judge next: the person labels some of a pool, a first run trains on them, and then they label
more, in an order; a fresh training on all these labels is measured.

first       the first labels of the pool, in its order, which goes round the prompts
random      then the others in a random order, another one for each seed
uncertain   then the others, those first of which the first run is least certain, as Judge shows them:
            |log_ratio - reference point|, by `runs.uncertainty`

A person gives an image the same label whenever they judge it, so the orders differ in the images alone.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from thumbtune.experiments.ground_cells import ground_cell, scored
from thumbtune.experiments.methods import LEAD, METHODS
from thumbtune.experiments.simulated_labels import PoolImage, import_labels
from thumbtune.experiments.training_grid import Grid, GridCell, pool_of, rate, rating_in, trained_on
from thumbtune.feedback.store.store import Store
from thumbtune.files import write_text
from thumbtune.runs import run
from thumbtune.runs.uncertainty import measure_uncertainty
from thumbtune.training.sampling import seeded_generator

FIRST, RANDOM, UNCERTAIN = "first", "random", "uncertain"
ORDERS = (RANDOM, UNCERTAIN)
PER_PROMPT = 16  # of 24 concepts: a pool of 384
VOTES = "votes"


def order_cell(ground: str, order: str, votes: int, seed: int, first: int) -> GridCell:
    """Return the cell of an order and a number of votes; the first ones are the same in all cells of a seed."""
    return ground_cell(
        ground,
        f"{order}-{votes:03d}",
        seed,
        METHODS[LEAD].settings,
        per_prompt=PER_PROMPT,
        columns={"method": order, VOTES: votes},
        facts={"order": order, "votes": votes, "first": first},
    )


def in_order(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Label as many images as the cell's facts say, in its order, train on them, and return the row."""
    pool, facts = pool_of(lab, cell), cell.facts
    labels = {label[0]: label for label in rate(cell, pool, rating_in(lab, cell.rating))}
    labelled = [one for one in pool if one.file.name in labels]
    start, others = labelled[: facts["first"]], labelled[facts["first"] :]
    if facts["votes"] > len(labelled):
        return {"likes": 0, "dislikes": 0, "status": f"cannot be trained: the pool gives {len(labelled)} labels"}
    more = facts["votes"] - len(start)
    if facts["order"] == RANDOM:
        others = shuffled(others, cell.seed)
    elif facts["order"] == UNCERTAIN:
        values = _uncertainty(lab, cell, others)
        if values is None:
            return {"likes": 0, "dislikes": 0, "status": "cannot be trained: the first run has no result"}
        others = least_certain(others, values)
    folder = _folder(lab, cell)
    chosen = [labels[one.file.name] for one in (*start, *others[:more])]
    likes, dislikes = import_labels(folder, chosen, cell.taste)
    recipe = lab.recipe_of(cell).model_copy(update={"likes": str(folder / "store")})
    row = trained_on(lab, cell, recipe, likes, dislikes)
    if row["status"] != "trained":
        return row
    return row | scored(lab, cell, run.trained_model(recipe, lab.run_of(cell)))


def shuffled(images: Sequence[PoolImage], seed: int) -> list[PoolImage]:
    """Return images in a random order, which the seed decides; a longer choice contains a shorter one."""
    order = torch.randperm(len(images), generator=seeded_generator(seed, "order of judging")).tolist()
    return [images[place] for place in order]


def least_certain(images: Sequence[PoolImage], values: Mapping[str, float]) -> list[PoolImage]:
    """Return images by uncertainty, the smallest distance first; one that was not measured comes last."""
    return sorted(images, key=lambda one: values.get(one.file.name, float("inf")))


def _folder(lab: Grid, cell: GridCell) -> Path:
    return lab.order.folder / "likes" / f"{cell.ground}-{cell.name}-seed-{cell.seed}"


def _uncertainty(lab: Grid, cell: GridCell, images: Sequence[PoolImage]) -> dict[str, float] | None:
    """Return how uncertain the first run of a seed is of images, by their file names; None if it has no result.

    It is measured once for all numbers of votes.
    """
    first = order_cell(cell.ground, FIRST, cell.facts["first"], cell.seed, cell.facts["first"])
    folder = lab.run_of(first)
    if not (folder / "lora").is_dir():
        return None
    kept = _folder(lab, first) / "uncertainty.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    with Store.open(_folder(lab, first) / "unrated") as store:
        with store.transaction():
            stored = [(one, store.add_image(one.file.read_bytes(), one.prompt)) for one in images]
        found = measure_uncertainty(folder, store, [image for _, image in stored], lab.progress)
    values = {one.file.name: found[image.id] for one, image in stored if image.id in found}
    write_text(kept, json.dumps(values))
    return values
