"""Encode likes with a model, once: latents and prompt embeddings in a cache, labels and weights in memory."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from PIL import ImageOps
from torch import Tensor

from thumbtune.clips import of_each_frame
from thumbtune.errors import ThumbtuneError, note, plural
from thumbtune.feedback.clips import Clips, clip_of
from thumbtune.images import rgb
from thumbtune.models.buckets import Shape
from thumbtune.models.process import Latents
from thumbtune.models.prompt_encoding import together
from thumbtune.models.protocol import Condition, Model
from thumbtune.objective.prompt_prefix import PromptPrefixes
from thumbtune.training.batch import Ragged, stacked
from thumbtune.training.cache import Cache, Tensors, is_finite
from thumbtune.training.progress import Progress, in_images, quiet

TOO_MANY_WRONG = 0.5  # the share of images without finite latents at which a training is refused
LATENT = "latent"  # beside the names of the images' own condition
SHOWN_WRONG = 3  # names in a sentence


class Encoded:
    """Likes encoded by a model: latents and prompt embeddings in a cache, labels and weights in memory.

    prefixes: the words before the prompts of good and of bad images in training; None: no words
    sizes: the size of each image, to which it is resized and cropped; None: the model's own, for one or for all
    flips: whether images are encoded mirrored too, so that training can show them so
    """

    def __init__(
        self,
        likes: Any,
        model: Model,
        cache: Cache,
        prefixes: PromptPrefixes | None = None,
        *,
        sizes: Sequence[Shape | None] | None = None,
        flips: bool = False,
    ) -> None:
        self.likes = likes
        self.cache = cache
        self.image_ids: list[str] = list(likes["image_id"])
        self.prompts: list[str] = list(likes["prompt"])
        self.liked = torch.tensor(list(likes["label"]), dtype=torch.bool)
        self.weight = torch.tensor(list(likes["weight"]), dtype=torch.float32)
        self.grade = _grades(likes, self.liked)
        self.model = model
        self.prefixes = prefixes
        self.sizes = None if sizes is None or len({*sizes, None}) == 1 else sizes
        self.flips = flips
        self.clips = Clips()
        self._not_finite: dict[str, Tensors] = {}  # NaN and infinite numbers never enter the cache
        self._of_images, self._of_prompts = model.fingerprints()

    def __len__(self) -> int:
        return len(self.image_ids)

    def taking(self, clips: Clips) -> "Encoded":
        """Encode these frames of each row, in place of the first one; return self."""
        self.clips = clips
        return self

    def size_of(self, row: int) -> Shape | None:
        """Return the size of an image; None for the model's own."""
        return None if self.sizes is None else self.sizes[row]

    def shape_of(self, row: int) -> tuple[int, ...]:
        """Return what rows of one batch share: the number of frames, and the size, zeros for the model's own."""
        return self.clips.of(row), *(self.size_of(row) or (0, 0))

    def _image_key(self, image_id: str, size: Shape | None = None, flipped: bool = False, frames: int = 1) -> str:
        about = ("" if size is None else f":{size[0]}x{size[1]}") + (":flipped" if flipped else "")
        about += "" if frames == 1 else f":{frames} frames at {self.clips.rate}"
        return f"latent-alone:{self._of_images}:{image_id}{about}"

    def _key_of(self, row: int, flipped: bool = False) -> str:
        clip = {} if self.clips.of(row) == 1 else {"frames": self.clips.of(row)}
        return self._image_key(self.image_ids[row], self.size_of(row), flipped, **clip)

    def _prompt_key(self, prompt: str) -> str:
        return f"prompt-alone:{self._of_prompts}:{prompt}"

    def fill_share(self, place: int, of: int, progress: Progress = quiet, at_once: int = 16) -> None:
        """Encode one of several equal parts of what the cache lacks; other processes encode the others.

        What cannot be kept there, as numbers that are not finite, is left for `fill`.

        Args:
            place: which part, from 0 on.
            of: the number of parts.
            progress: is told of every `at_once` images.
            at_once: how many images are opened together.
        """
        images, prompts = self._images()[place::of], self._prompts()[place::of]

        def encode(places: list[int]) -> list[Tensors]:
            return [self._encode(*images[each]) for each in places]

        keys = [self._key_of(*which) for which in images]
        self.cache.fill(keys, encode, at_once, lambda chunks: progress(in_images(chunks), "Encoding images"))
        self.cache.fill(
            [self._prompt_key(prompt) for prompt in prompts], lambda rows: [self._embed(prompts[row]) for row in rows]
        )

    def _images(self) -> list[tuple[int, bool]]:
        """Return the row of each image, and whether it is mirrored."""
        return [(row, flipped) for flipped in ((False, True) if self.flips else (False,)) for row in range(len(self))]

    def _prompts(self) -> list[str]:
        """Return the prompts that training gives, each once."""
        behind = [both for prompt in self.prompts for both in self.prefixes.both(prompt)] if self.prefixes else []
        return sorted({*self.prompts, *behind, ""})

    def fill(self, progress: Progress = quiet, at_once: int = 16, *, strict: bool = False) -> "Encoded":
        """Encode the images and prompts that the cache lacks; return self.

        NaN and infinite numbers stay in memory, never in the cache. Training leaves such images out.

        Args:
            progress: is told of every `at_once` images.
            strict: whether a few of them are named in a note, and more are refused.

        Raises:
            ThumbtuneError: with `strict`, half of the images, or a prompt, are encoded as NaN or infinite numbers.
        """
        images, prompts = self._images(), self._prompts()
        too_many = math.ceil(len(set(self.image_ids)) * TOO_MANY_WRONG)
        wrong: dict[str, None] = {}  # in their order, each once

        def encode(places: list[int]) -> list[Tensors]:
            names = [self.image_ids[images[place][0]] for place in places]
            made = [self._encode(*images[place]) for place in places]
            wrong.update(dict.fromkeys(self._keep_wrong([keys[place] for place in places], names, made)))
            if strict and len(wrong) >= too_many:
                raise _not_finite([*wrong])
            return made

        def embed(rows: list[int]) -> list[Tensors]:
            texts = [prompts[row] for row in rows]
            made = [*map(self._embed, texts)]
            bad = self._keep_wrong([*map(self._prompt_key, texts)], [*map(repr, texts)], made)
            if strict and bad:
                raise _not_finite(bad)
            return made

        keys = [self._key_of(row, flipped) for row, flipped in images]
        self.cache.fill(keys, encode, at_once, lambda chunks: progress(in_images(chunks), "Encoding images"))
        if strict and wrong:
            note(
                f"The model encodes {plural(len(wrong), 'image')} as NaN or infinite numbers ({_first([*wrong])}); "
                "training leaves them out."
            )
        self.cache.fill([self._prompt_key(prompt) for prompt in prompts], embed)
        return self

    def _keep_wrong(self, keys: Sequence[str], names: Sequence[str], made: Sequence[Tensors]) -> list[str]:
        """Keep tensors that are not finite in memory; return the names of what they encode."""
        found = [(key, name, one) for key, name, one in zip(keys, names, made, strict=True) if not is_finite(one)]
        self._not_finite |= {key: one for key, _, one in found}
        return [name for _, name, _ in found]

    def _encode(self, row: int, flipped: bool = False) -> Tensors:
        """Return the latent of an image that is encoded alone: its last bits depend on what is encoded with it.

        Beside it stands what the model is told of the image itself.
        """
        image, size = clip_of(self.likes, row, self.clips), self.size_of(row)
        image = of_each_frame(image, lambda one: ImageOps.mirror(rgb(one))) if flipped else image
        given = {} if size is None else {"size": size}
        about = self.model.image_condition([image], **given)
        return {LATENT: self.model.encode([image], **given)[0]} | {name: value[0] for name, value in about.items()}

    def _embed(self, prompt: str) -> Tensors:
        """Return the condition of a prompt that is embedded alone."""
        return {name: value[0] for name, value in self.model.embed([prompt]).items()}

    def _get(self, key: str) -> Tensors:
        return self._not_finite[key] if key in self._not_finite else self.cache.get(key)

    def images(self, rows: Sequence[int], flipped: Sequence[bool] = ()) -> tuple[Latents | Ragged, Condition]:
        """Return the latents of some rows, in their order, and the part of their condition that is the images' own.

        flipped: which of them are mirrored; empty: none
        """
        stored = [self._get(self._key_of(*which)) for which in zip(rows, flipped or [False] * len(rows), strict=True)]
        about = {name: torch.stack([one[name] for one in stored]) for name in stored[0] if name != LATENT}
        return stacked([one[LATENT] for one in stored]), about

    def latents(self, rows: Sequence[int]) -> Latents | Ragged:
        """Return the latents of some rows, in their order."""
        return self.images(rows)[0]

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Return the embeddings of prompts of these likes, with or without a prefix, or of the empty prompt."""
        embeddings = [self._get(self._prompt_key(prompt)) for prompt in prompts]
        return together(embeddings)


def _first(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_WRONG
    return ", ".join(names[:SHOWN_WRONG]) + (f" and {more} more" if more > 0 else "")


def _not_finite(names: Sequence[str]) -> ThumbtuneError:
    return ThumbtuneError(
        f"The model encodes {plural(len(names), 'image or prompt', 'images or prompts')} as NaN or infinite numbers "
        f"({_first(names)}), from which nothing can be learnt; choose another model, or take the votes on them out.",
        code="encoding-not-finite",
    )


def _grades(likes: Any, liked: Bool[Tensor, "n"]) -> Float[Tensor, "n"] | None:
    """Return how much each image is liked: its grade, or 1 or 0 from its label; None if there are no grades."""
    grades = list(likes["grade"]) if "grade" in likes.column_names else []
    if all(grade is None for grade in grades):
        return None
    return torch.tensor([float(like) if g is None else g for g, like in zip(grades, liked.tolist(), strict=True)])
