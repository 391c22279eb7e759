"""The feedback that a run held out: its prompts, labels and votes, and how well the tuned model agrees with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from thumbtune.distributed import team
from thumbtune.errors import ThumbtuneError, UsageError, plural
from thumbtune.feedback.event_log.files import is_event_log
from thumbtune.feedback.policies import RATER_PREFIX
from thumbtune.feedback.store.store import is_store
from thumbtune.runs import build, objectives, run
from thumbtune.runs.image_sizes import encoded_as_trained
from thumbtune.runs.recipe import Recipe
from thumbtune.training import records
from thumbtune.training.progress import Progress, waiting

ImageKey = tuple[str, str]  # an image's id and its prompt: the same image may have two prompts
FeedbackRow = dict[str, Any]  # image_id, prompt, seed, held_out


@dataclass(frozen=True)
class HeldOut:
    """Feedback that training did not use: labels by the run's policy, likes and dislikes, and each rater's votes."""

    labels: Any
    votes: Any


def feedback_of(folder: Path) -> list[FeedbackRow]:
    """Return image, prompt, seed and `held_out` of every label that the run began with.

    Raises:
        ThumbtuneError: the run's list of likes cannot be read.
    """
    return records.read_labels(folder, ("image_id", "prompt", "seed", "held_out"))


def prompts_of(recipe: Recipe, rows: Sequence[FeedbackRow]) -> list[str]:
    """Return the prompts of the recipe's file, or the held-out prompts of the run: no prompt that training saw.

    Raises:
        UsageError: the file is missing or empty or holds trained prompts, no prompt was held out, or a seed of the
            evaluation belongs to an image that was rated.
    """
    trained, held_out = ({row["prompt"] for row in rows if row["held_out"] == flag} for flag in (False, True))
    prompts = build.judged_prompts(recipe, trained, held_out)
    if not prompts:
        raise UsageError(
            "No prompt of the feedback was held out; set evaluate.prompts to a file with one prompt per line.",
            code="evaluate-no-prompts",
        )
    options = recipe.evaluate
    seeds = range(options.first_seed, options.first_seed + len(prompts) * options.per_prompt)
    used = {row["seed"] for row in rows} & set(seeds)
    if used:
        raise UsageError(
            f"evaluate.first_seed: seed {min(used)} is the seed of a rated image; choose another first seed.",
            code="evaluate-seed-used",
        )
    return prompts


def held_out_of(folder: Path, recipe: Recipe, rows: Sequence[FeedbackRow]) -> tuple[HeldOut | None, str | None]:
    """Return the feedback that this run held out, or None and the sentence that says why there is none.

    Raises:
        ThumbtuneError: the feedback cannot be read, and the recipe names no scorer that could judge instead.
    """
    try:
        known = build.split_of(recipe).held_out
    except ThumbtuneError as error:  # as when a run was copied elsewhere: scorers can still judge it
        if recipe.evaluate.scorers:
            return None, str(error)
        if is_store(recipe.likes) or is_event_log(recipe.likes):
            raise
        raise ThumbtuneError(
            f"{folder} cannot be evaluated, since {recipe.likes} is not a store of likes and the "
            "recipe names no scorer; give the likes with --set likes=FOLDER, or a scorer with --set "
            "evaluate.scorers=NAME.",
            code="evaluate-nothing-judges",
        ) from error
    ours = {(row["image_id"], row["prompt"]) for row in rows if row["held_out"]}
    # an image may have been rated under two prompts, of which only one was held out
    trained = {row["image_id"] for row in rows if not row["held_out"]}
    keys = _keys(known)
    labels = known.select([i for i, key in enumerate(keys) if key in ours and key[0] not in trained])
    if ours and not len(labels):
        return None, f"{recipe.likes} holds none of the {len(ours)} labels that this run held out."
    if not 0 < sum(labels["label"]) < len(labels):
        return None, f"The held-out feedback ({plural(len(labels), 'label')}) is not of both kinds."
    later = set(keys) - ours  # labelled today, and not when the run began
    return HeldOut(labels, _votes(recipe, labels, rows, later)), None


def _keys(table: Any) -> list[ImageKey]:
    return list(zip(table["image_id"], table["prompt"], strict=True))


def _votes(recipe: Recipe, labels: Any, rows: Sequence[FeedbackRow], later: set[ImageKey]) -> Any:
    """Return each rater's votes on the images of the labels, and on held-out images without a label.

    Where a policy gives no label because raters differ, those images tell raters apart. A policy of a single rater
    gives no label to images that this rater did not see; they are left out here too.

    Args:
        labels: those of the policy that the run held out.
        rows: the feedback of the run; no image and no prompt of its training is asked about.
        later: images that the run did not know and that have a label today.
    """
    if recipe.label_policy == build.PER_VOTE:
        return labels
    votes, labelled = build.votes_of(recipe), set(_keys(labels))
    images, prompts = ({row[column] for row in rows if not row["held_out"]} for column in ("image_id", "prompt"))
    of_one_rater = recipe.label_policy.startswith(RATER_PREFIX)

    def is_wanted(key: ImageKey) -> bool:
        seen = key[0] in images or key[1] in prompts or key in later
        return key in labelled or not (of_one_rater or seen)

    return votes.select([i for i, key in enumerate(_keys(votes)) if is_wanted(key)])


def _at_once(recipe: Recipe) -> dict[str, int]:
    """Return the images that are measured at once where a CPU trains one at a time, since memory would run out."""
    is_auto = recipe.train.micro_batch == "auto" and team().device.type == "cpu"
    return {"at_once": build.micro_batch_of(recipe)} if is_auto else {}


def agreement_of(
    held_out: HeldOut, recipe: Recipe, folder: Path, accelerator: Any, progress: Progress
) -> dict[str, Any]:
    """Return how well the implicit reward tells held-out likes from dislikes; each image is asked about once.

    Raises:
        ThumbtuneError: the run is not finished, or an image cannot be read.
    """
    from datasets import concatenate_datasets

    from thumbtune.evaluation.agreement import implicit_reward
    from thumbtune.evaluation.classifier import HeldOutLabels, measure_agreement

    both = concatenate_datasets([held_out.labels, held_out.votes])
    first: dict[ImageKey, int] = {}
    for row, key in enumerate(_keys(both)):
        first.setdefault(key, row)
    place = {key: number for number, key in enumerate(first)}
    images = both.select(list(first.values()))
    load = partial(run.trained_model, recipe, folder, accelerator.device)
    model = waiting(progress, "Loading the tuned model", load)
    asked = objectives.with_prefix(run.prompt_prefix_of(folder), images)
    encoded = encoded_as_trained(recipe, model, asked, run.cache_of(folder)).fill(progress, strict=True)
    model.rest()  # all is encoded
    reward = implicit_reward(model, encoded, accelerator, progress, **_at_once(recipe)).numpy()

    def on_images(table: Any) -> HeldOutLabels:
        numbers = np.array([place[key] for key in _keys(table)], dtype=np.int64)
        return HeldOutLabels(numbers, np.array(list(table["label"]), dtype=bool), list(table["rater"]))

    return measure_agreement(reward, list(images["prompt"]), on_images(held_out.labels), on_images(held_out.votes))
