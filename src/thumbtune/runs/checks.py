"""Check likes and settings before a training: errors, and notes for people.

error   a kind of label is missing; pairs are needed and no prompt has both kinds; all labels are of one image; every
        image is both liked and disliked under the same prompts
note    images of a single colour; images that are both liked and disliked; a learning rate for another kind of training

Images are compared by their pixels, since a copy that was saved again is another file.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.likes import image_of
from thumbtune.images import rgb
from thumbtune.objective.protocol import Objective
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe, TrainSection
from thumbtune.training.batches import check_prompts_differ
from thumbtune.training.sampling import check_even, check_kinds, pairs_of

MAX_INSPECTED_IMAGES = 256  # spread over the table: this takes a few seconds, for any number of likes
LORA_RATE = 1e-4  # usual for LoRAs of Stable Diffusion, as in the examples of diffusers


def check_labels(recipe: Recipe, objective: Objective, likes: Any, held_out: Any = None) -> None:
    """Refuse likes without a kind of label or a second prompt that the recipe needs, and an odd batch of pairs.

    held_out: the likes that were held out, which the error counts if they have what is missing

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
        kept = None if held_out is None else torch.tensor(list(held_out["label"]), dtype=torch.bool)
        check_kinds(liked, build.liked_share(recipe, objective), kept)


def likes_notes(likes: Any) -> list[str]:
    """Return a sentence on each suspicious property of the likes.

    Raises:
        ThumbtuneError: nothing can be learnt from these likes, or an image is missing.
    """
    most = MAX_INSPECTED_IMAGES
    rows = sorted({i * len(likes) // most for i in range(most)} if len(likes) > most else range(len(likes)))
    sample = likes.select(rows)
    hashes, blank = [], 0
    for row in range(len(sample)):
        image = rgb(image_of(sample, row))
        hashes.append(hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest())
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
    if train.weights == "lora" and train.lr >= TrainSection().lr and not build.is_bundled(recipe.model):
        notes.append(
            f"A train.lr of {train.lr:g} suits the bundled model; a LoRA of a large model is usually trained with "
            f"{LORA_RATE:g}."
        )
    if train.warmup + train.cooldown > train.steps + 1:
        notes.append(
            f"A train.warmup of {train.warmup} and a train.cooldown of {train.cooldown} exceed the {train.steps} "
            "steps, so the learning rate never reaches train.lr."
        )
    return notes
