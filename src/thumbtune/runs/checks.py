"""Check likes and settings before a training: errors, and notes for people.

error   a kind of label is missing; pairs are needed and no prompt has both kinds; one image is left of each kind; all
        labels are of one image; every image is both liked and disliked under the same prompts
note    images of a single colour; images that are both liked and disliked; a learning rate for another kind of
        training; fewer labels than ever gained; too few held-out prompts for a verdict; prompts that the text encoder
        cuts; weights, tags and other marks in prompts and in the negative prompt

Images are compared by their pixels, since a copy that was saved again is another file.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from thumbtune.distributed import team
from thumbtune.errors import ThumbtuneError, plural
from thumbtune.feedback.clips import is_clip
from thumbtune.feedback.enough import MIN_LABELS, few_labels_note, few_prompts_note, often_shown_note
from thumbtune.feedback.likes import Split, image_of
from thumbtune.images import rgb
from thumbtune.models.pipeline_files import distilled_note
from thumbtune.objective.protocol import Objective
from thumbtune.runs import build, objectives
from thumbtune.runs.bundled_base import is_bundled_model
from thumbtune.runs.prompt_notes import prompt_notes
from thumbtune.runs.recipe import Recipe, TrainSection
from thumbtune.training.neighbours import check_prompts_differ
from thumbtune.training.sampling import check_even, check_kinds, pairs_of

MAX_INSPECTED_IMAGES = 256  # spread over the table: this takes a few seconds, for any number of likes
STIFF_RELATIVE = 100  # a beta of relative log-ratios at which a hundredth of an error is a gain of 1
TOO_LOW_FOR_LORA = 1e-6  # a hundredth of the usual one, and ten times the paper's of all weights
LORA_RATE = 1e-4  # usual for LoRAs of Stable Diffusion, as in the examples of diffusers


def check_labels(recipe: Recipe, objective: Objective, likes: Any) -> None:
    """Refuse likes without a kind of label or a second prompt that the recipe needs, and an odd batch of pairs.

    Raises:
        ThumbtuneError: it gives the number of each kind, the only prompt, or an even batch.
    """
    if recipe.objective.reference_point == "mismatched":
        check_prompts_differ(list(likes["prompt"]))
    liked = torch.tensor(list(likes["label"]), dtype=torch.bool)
    if "pairs" in objective.needs:
        pairs_of(list(likes["prompt"]), liked)
        check_even(recipe.train.batch)
    else:
        check_kinds(liked, objectives.liked_share(recipe, objective))


def check_enough(recipe: Recipe, objective: Objective, parts: Split) -> None:
    """Refuse feedback from which nothing can be learnt, with advice by where the missing labels are.

    Raises:
        ThumbtuneError: a kind that the objective needs is missing, or one image is left of each kind.
    """
    if "pairs" in objective.needs:
        return  # `check_labels` counts pairs
    share = objectives.liked_share(recipe, objective)
    likes, dislikes = sum(parts.train["label"]), len(parts.train) - sum(parts.train["label"])
    missing = "likes" if not likes else "dislikes" if not dislikes and share < 1 else None
    if missing is None:
        return _check_two_images(parts.train, share)
    held_out = sum(liked == (missing == "likes") for liked in parts.held_out["label"])
    sentence = _what_is_missing(likes, dislikes, missing, held_out, share)
    if missing == "likes":
        raise ThumbtuneError(sentence, code="likes-no-likes")
    raise ThumbtuneError(sentence, code="likes-no-dislikes")


def _what_is_missing(likes: int, dislikes: int, missing: str, held_out: int, share: float) -> str:
    """Return what is left to train on, and what to do about the missing kind of label."""
    left = f"{plural(likes, 'like')} and {plural(dislikes, 'dislike')} are left to train on"
    if held_out:
        return (
            f"{left}, since the {held_out} other {missing} are of held-out prompts; add {missing} of other prompts, or "
            "hold none out (train.validation_share=0)."
        )
    needs = "training needs likes" if missing == "likes" else f"a train.liked_share of {share:g} needs both"
    way = "" if missing == "likes" else ", or learn from likes alone with objective.name=sft"
    return f"{left}, and {needs}; add {missing}, as with `thumbtune import FOLDER --label {missing[:-1]}`{way}."


def _check_two_images(train: Any, share: float) -> None:
    """Refuse one image of each kind: whatever tells the two apart would be the whole taste."""
    images = {kind: set() for kind in (True, False)}
    for image, liked in zip(train["image_id"], train["label"], strict=True):
        images[bool(liked)].add(image)
        if len(images[True]) > 1 or len(images[False]) > 1:
            return
    if len(images[True]) == 1 and share < 1 and images[True] != images[False]:
        raise ThumbtuneError(
            "One liked and one disliked image are left to train on, and any difference between two images would pass "
            f"for the taste; label more, {MIN_LABELS} images or more in all.",
            code="likes-two-images",
        )


def amount_notes(recipe: Recipe, objective: Objective, parts: Split) -> list[str]:
    """Return a sentence on each too small number of labels or prompts, on a distilled model and on cut prompts."""
    labels = [*parts.train["label"], *parts.held_out["label"]]
    likes, both = sum(labels), objectives.liked_share(recipe, objective) < 1
    few = few_labels_note(likes, len(labels) - likes, both)
    notes = [few or often_shown_note(len(parts.train), recipe.train.steps, recipe.train.batch)]
    if not (recipe.evaluate.scorers and recipe.evaluate.prompts):
        notes.append(few_prompts_note(parts.held_out["prompt"], recipe.train.validation_share))
    notes.append(one_kind_note(parts.held_out["label"]) if both and recipe.train.validate_every else None)
    notes.append(distilled_note(build.model_path(recipe.model)))
    prompts = [*parts.train["prompt"], *parts.held_out["prompt"], recipe.evaluate.negative_prompt]
    about_prompts = prompt_notes(prompts, build.encoding_of(recipe), build.model_path(recipe.model))
    return [*(note for note in notes if note), *about_prompts]


def one_kind_note(held_out: Sequence[bool]) -> str | None:
    """Return that no agreement is measured, where all held-out labels are of one kind; None without any."""
    if not held_out or len(set(held_out)) > 1:
        return None
    kind, other = ("like", "dislike") if held_out[0] else ("dislike", "like")
    return (
        f"All held-out labels are {kind}s ({len(held_out)}), so no agreement is measured while training: give a "
        f"{other} to images of more prompts, or hold out more with train.validation_share."
    )


def likes_notes(likes: Any, clips: bool = False) -> list[str]:
    """Return a sentence on each suspicious property of the likes.

    clips: whether clips are trained, many of which begin with one frame, such as a black one

    Raises:
        ThumbtuneError: nothing can be learnt from these likes, or an image is missing.
    """
    most = MAX_INSPECTED_IMAGES
    rows = sorted({i * len(likes) // most for i in range(most)} if len(likes) > most else range(len(likes)))
    sample = likes.select(rows)
    hashes, blank = [], 0
    for row in range(len(sample)):
        image = rgb(image_of(sample, row))
        name = sample["image_id"][row] if clips and is_clip(sample, row) else ""
        hashes.append(hashlib.sha256(f"{image.size}{name}".encode() + image.tobytes()).hexdigest())
        blank += image.getcolors(1) is not None  # at most one colour
    _check_differences(hashes, sample["prompt"], sample["label"])
    labels = list(zip(hashes, sample["label"], strict=True))
    both = len({image for image, liked in labels if liked} & {image for image, liked in labels if not liked})
    notes = []
    if blank:
        notes.append(
            f"{blank} of {len(sample)} images have a single colour: check that they were generated and saved whole."
        )
    if both:
        notes.append(
            f"{both} of {len(set(hashes))} images are both liked and disliked: right if the labels say how well an "
            "image follows its prompt; otherwise they teach nothing."
        )
    return notes


def _check_differences(images: Sequence[str], prompts: Sequence[str], liked: Sequence[bool]) -> None:
    """Refuse labels that are all of one image, and images that all have both labels."""
    if len(images) > 1 and len(set(images)) == 1:
        raise ThumbtuneError(
            f"All {len(images)} inspected labels are of the same image, so nothing tells likes from dislikes; import "
            "the images that the labels were given for.",
            code="likes-one-image",
        )
    plain = [" ".join(prompt.casefold().split()).rstrip(" .!") for prompt in prompts]
    labels = list(zip(images, plain, liked, strict=True))
    likes, dislikes = ({(image, prompt) for image, prompt, label in labels if label == kind} for kind in (True, False))
    if likes and likes == dislikes:
        raise ThumbtuneError(
            "Every image is both liked and disliked under the same prompt, so its labels cancel; withdraw one of the "
            "two for each image.",
            code="likes-cancel",
        )


def settings_notes(recipe: Recipe) -> list[str]:
    """Return a sentence on each setting that is allowed but rarely intended."""
    train, notes = recipe.train, []
    if train.weights == "full" and train.lr >= LORA_RATE:
        notes.append(f"A train.lr of {train.lr:g} suits a LoRA; the paper trained all weights with 1e-07.")
    if train.weights == "lora" and train.lr <= TOO_LOW_FOR_LORA:
        notes.append(
            f"A train.lr of {train.lr:g} suits all weights; a LoRA is usually trained with {LORA_RATE:g} or more."
        )
    if train.weights == "lora" and train.lr >= TrainSection().lr and not is_bundled_model(recipe.model):
        notes.append(
            f"A train.lr of {train.lr:g} suits the bundled model; a LoRA of a large model is usually trained with "
            f"{LORA_RATE:g}."
        )
    beta, is_relative = recipe.objective.beta, recipe.objective.log_ratio == "relative"
    if is_relative and beta != "auto" and beta > STIFF_RELATIVE:
        notes.append(
            f"An objective.beta of {beta:g} suits absolute log-ratios; with objective.log_ratio=relative, a change of "
            f"{1 / beta:.1g} of an error is a gain of 1. Try 10, or auto."
        )
    if train.shard and team().num_processes == 1:
        notes.append("train.shard divides the network among processes, and this is one process, so it has it whole.")
    if train.warmup + train.cooldown > train.steps + 1:
        notes.append(
            f"A train.warmup of {train.warmup} and a train.cooldown of {train.cooldown} exceed the {train.steps} "
            f"steps, so the learning rate never reaches train.lr; train.warmup={train.steps // 10} and "
            f"train.cooldown={train.steps // 5} fit."
        )
    return notes
