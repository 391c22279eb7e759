"""Rounds: a run generates images while it is young, people rate them, and it goes on with these labels too.

    from itertools import islice
    from thumbtune.runs import rounds

    list(islice(thumbtune.train(recipe, "runs/first"), 40))           # 40 of the recipe's steps, and a checkpoint
    rounds.model_so_far("runs/first").generate(prompts, seeds, sampler)
    ...                                                               # rate them, and import into the store of likes
    rounds.take_new_labels(recipe, "runs/first")
    list(islice(thumbtune.train(recipe, "runs/first", resume=True), 40))

All rounds are one training: one LoRA, optimiser and schedule, and the first reference. Only the labels grow. Each step
depends on the labels that the run has then, so a round that is done again from its checkpoint gives the same weights.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from thumbtune import checksums
from thumbtune.errors import ThumbtuneError
from thumbtune.files import write_text, write_whole
from thumbtune.models.protocol import PipelineModel
from thumbtune.runs import build, run
from thumbtune.runs.python_api import AnyRecipe, recipe_from
from thumbtune.training import checkpoint, records


def model_so_far(folder: str | Path, device: Any = "cpu") -> PipelineModel:
    """Return the model of a run's newest checkpoint, which generates images; with an EMA, its average.

    Raises:
        ThumbtuneError: the run has no checkpoint yet, or the newest one is damaged.
    """
    folder = Path(folder)
    recipe = run.recipe_in(folder)
    model = build.model_of(run.with_own_start(recipe, folder), device)
    weights = checkpoint.weights_in(_newest(folder))
    with torch.no_grad():
        for name, weight in model.trainable():
            weight.copy_(weights[name])
    model.complete = run.prompt_completion(folder)
    return model


def take_new_labels(recipe: AnyRecipe, folder: str | Path) -> int:
    """Give a run that was stopped the new labels of its store, for the steps to come; return how many are new.

    The run notes the step and the number in likes.json; what is taken twice at one step is noted as one round. All
    labels that it had must still be there, on the same side of the split. A run that a guard stopped takes labels if
    its guards are switched off, since it goes on then.

    Raises:
        UsageError: the folder is no such run, or its recipe differs.
        ThumbtuneError: the run has finished, has no checkpoint yet, or is being trained; or an earlier label is gone.
    """
    recipe, folder = recipe_from(recipe), Path(folder)
    run.refuse_busy(folder)
    stored_recipe = run.recipe_in(folder)
    run.check(recipe, folder, resume=True)
    is_stopped = (folder / run.STOPPED).exists()  # whose result is that of an earlier checkpoint
    if not is_stopped and (folder / build.result_in(folder, stored_recipe)).exists():
        raise ThumbtuneError(
            f"{folder} has finished its training, and takes no new labels; begin a new run from it with lora.start.",
            code="rounds-finished",
        )
    _newest(folder)
    step = checkpoint.steps_in(folder)[-1]
    with run.training_lock(folder):
        labels = run.labels_table(build.split_of(recipe))
        columns = list(run.COMPARED)
        before, now = (Counter(map(_key, rows)) for rows in (records.read_labels(folder, columns), _rows(labels)))
        if gone := before - now:
            raise ThumbtuneError(
                f"{gone.total()} of the labels that {folder} trained on have changed or are gone from {recipe.likes}; "
                "put them back, or start a new run: a round only adds labels.",
                code="rounds-labels-gone",
            )
        added = (now - before).total()
        if added:
            _write(folder, labels, step, added)
    return added


def _newest(folder: Path) -> Path:
    newest = checkpoint.latest(folder)
    if newest is None:
        raise ThumbtuneError(
            f"{folder} has no checkpoint yet; train some steps of it first, and stop it with Ctrl-C.",
            code="rounds-no-checkpoint",
        )
    return newest


def _rows(labels: Any) -> list[dict[str, Any]]:
    return labels.select_columns(list(run.COMPARED)).to_list()


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in run.COMPARED)


def _write(folder: Path, labels: Any, step: int, added: int) -> None:
    """Note the round, and write the labels; a kill in between leaves labels that are taken again.

    Its number is that of all labels without those from before this step, so that none counts twice after a kill.
    """
    story = records.read_story(folder) or {}
    rounds = story.get("rounds", [])
    noted = sum(one["labels"] for one in rounds if one["step"] == step)
    liked = list(labels["label"])
    known = story["likes"] + story["dislikes"] if {"likes", "dislikes"} <= story.keys() else len(liked) - added
    taken = {"step": step, "labels": len(liked) - known + noted}
    rounds = [*(one for one in rounds if one["step"] != step), taken]
    story |= {"rounds": rounds, "likes": sum(liked), "dislikes": len(liked) - sum(liked)}
    story |= {"prompts": len(set(labels["prompt"])), "held_out": sum(labels["held_out"])}
    with checksums.rewriting(folder, [records.LIKES, records.LABELS]):
        write_text(folder / records.LIKES, json.dumps(story, indent=1), durable=True)
        write_whole(folder / records.LABELS, labels.to_parquet, durable=True)
