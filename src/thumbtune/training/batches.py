"""Make batches from likes and a model: encode once, sample images, noise them by (seed, step, image).

Every random number is a function of (seed, step, image id) alone. So a run is the same in one process or eight, after a
resume, and for any micro-batch.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from PIL import ImageOps
from torch import Tensor

from thumbtune.clips import of_each_frame
from thumbtune.errors import ThumbtuneError, note, plural
from thumbtune.feedback.clips import Clips, clip_of
from thumbtune.images import rgb
from thumbtune.models.buckets import Shape
from thumbtune.models.process import Latents, Process, Times
from thumbtune.models.prompt_encoding import together
from thumbtune.models.protocol import Condition, Model
from thumbtune.models.window import WHOLE, Window, inside
from thumbtune.objective.prompt_prefix import PromptPrefixes
from thumbtune.training.batch import Batch, Ragged, positions, stacked
from thumbtune.training.cache import Cache, Tensors, is_finite
from thumbtune.training.neighbours import neighbours
from thumbtune.training.sampling import ByLabel, ByPair, seeded_generator

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
TOO_MANY_WRONG = 0.5  # the share of images without finite latents at which a training is refused
LATENT = "latent"  # beside the names of the images' own condition
FLIPPED = 0.5  # the share of mirrored images, where images are mirrored
SHOWN_WRONG = 3  # names in a sentence


def quiet(items: Iterable[Any], what: str) -> Iterable[Any]:
    """Return the items unchanged: a progress callback that shows nothing."""
    return items


def waiting(progress: Progress, what: str, work: Callable[[], Any]) -> Any:
    """Return the result of one piece of work, such as loading a model, and let a progress callback tell of it."""
    (result,) = [work() for _ in progress([()], what)]
    return result


@dataclass(frozen=True)
class Sized:
    """Items with their total number, for a progress bar.

    weight: how many an item counts for, as a part of several images; None: one
    place:  the number of an item that is done, as of a step, which is not 1 for the first one of a resumed training
    """

    items: Iterable[Any]
    total: int
    weight: Callable[[Any], int] | None = None
    place: Callable[[Any], int] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return self.total


def in_images(parts: Sequence[Sequence[Any]]) -> Sized:
    """Return parts of images, whose progress is counted in images."""
    return Sized(parts, sum(map(len, parts)), weight=len)


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
        self._known_keys: dict[str, str] = {}

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
        key = f"latent-alone:{self._of_images}:{image_id}{about}"
        if self._of_images == self._of_prompts:
            return key
        if key not in self._known_keys:  # earlier versions had the way of reading prompts in it
            before = f"latent-alone:{self._of_prompts}:{image_id}{about}"
            self._known_keys[key] = before if self.cache.has(before) and not self.cache.has(key) else key
        return self._known_keys[key]

    def _key_of(self, row: int, flipped: bool = False) -> str:
        clip = {} if self.clips.of(row) == 1 else {"frames": self.clips.of(row)}
        return self._image_key(self.image_ids[row], self.size_of(row), flipped, **clip)

    def _prompt_key(self, prompt: str) -> str:
        return f"prompt-alone:{self._of_prompts}:{prompt}"

    def fill(self, progress: Progress = quiet, at_once: int = 16, *, strict: bool = False) -> "Encoded":
        """Encode the images and prompts that the cache lacks; return self.

        NaN and infinite numbers stay in memory, never in the cache. Training leaves such images out.

        Args:
            progress: is told of every `at_once` images.
            strict: whether a few of them are named in a note, and more are refused.

        Raises:
            ThumbtuneError: with `strict`, half of the images, or a prompt, are encoded as NaN or infinite numbers.
        """
        behind = [both for prompt in self.prompts for both in self.prefixes.both(prompt)] if self.prefixes else []
        prompts = sorted({*self.prompts, *behind, ""})
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

        images = [(row, flipped) for flipped in ((False, True) if self.flips else (False,)) for row in range(len(self))]
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


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches of a training: the images of each step, and their noise.

    size:           images per weight update, over all processes (the effective batch)
    liked_share:    the paper's gamma: the probability that a row is a liked image
    prompt_dropout: the probability that an image loses its prompt
    timestep_bias:  1: all noise levels equally often; above 1: high noise more often; below 1: low noise more often
    disliked_timesteps: the window of noise levels of disliked images, as shares of the process (window.py)
    paired:         sample pairs of a liked and a disliked image of one prompt, which share their noise and time;
                    two of different shapes share the time and the seed of their noise
    """

    encoded: Encoded
    process: Process
    size: int
    liked_share: float = 0.8
    prompt_dropout: float = 0.0
    timestep_bias: float = 1.0
    disliked_timesteps: Window = WHOLE
    paired: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        assert self._sampling is not None  # raises if the likes cannot be sampled
        if self.paired and self.disliked_timesteps != WHOLE:
            raise ThumbtuneError(
                "The two images of a pair share one time, so train.disliked_timesteps cannot choose that of the "
                "disliked one alone; leave it out, or choose kto.",
                code="timesteps-of-pairs",
            )

    @cached_property
    def _sampling(self) -> ByLabel | ByPair:
        liked = self.encoded.liked
        if self.paired:
            return ByPair(prompts=self.encoded.prompts, liked=liked, size=self.size, seed=self.seed)
        return ByLabel(liked=liked, size=self.size, liked_share=self.liked_share, seed=self.seed)

    def rows(self, step: int) -> list[int]:
        """Return the rows of the likes in one effective batch; images, or pairs, of one shape stand together."""
        rows = self._sampling.rows(step)
        if self.encoded.sizes is None and self.encoded.clips.are_images:
            return rows
        units = [rows[start : start + self._unit] for start in range(0, len(rows), self._unit)]
        return [row for unit in sorted(units, key=self._shape_of) for row in unit]

    @property
    def _unit(self) -> int:
        """Return how many rows stay together: those of a pair."""
        return 2 if self.paired else 1

    def _shape_of(self, rows: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the shape of an image, or of both of a pair."""
        return [self.encoded.shape_of(row) for row in rows]

    def parts(self, step: int, first: int, stop: int, size: int) -> list[tuple[int, int]]:
        """Return the first and the last end of each part of rows first..stop: of one shape, and of at most `size` rows.

        The liked images of pairs have one shape, and the disliked ones have one.
        """
        rows, size = self.rows(step), max(self._unit, size - size % self._unit)  # a pair is judged together
        found = [first]
        for place in range(first, stop, self._unit):
            units = (rows[start : start + self._unit] for start in (found[-1], place))
            if place - found[-1] >= size or len({tuple(self._shape_of(unit)) for unit in units}) > 1:
                found.append(place)
        return list(pairwise([*found, stop]))

    @cached_property
    def _prompts(self) -> list[str]:
        """Return the distinct prompts of the likes, sorted."""
        return sorted(set(self.encoded.prompts))

    def _elsewhere(self, step: int) -> list[str]:
        """Return all prompts, starting at a random one, for batches whose images have a single prompt."""
        first = int(torch.randint(len(self._prompts), (), generator=seeded_generator(self.seed, step, "elsewhere")))
        return self._prompts[first:] + self._prompts[:first]

    def batch(self, step: int, start: int = 0, stop: int | None = None, mismatched: bool = False) -> Batch:
        """Return rows start..stop of the effective batch of a step, with their own noise and times.

        `mismatched` gives every image the prompt of a neighbour in the effective batch, in place of its own.
        """
        whole = self.rows(step)
        rows = whole[start:stop]
        names = [self.encoded.image_ids[row] for row in (_firsts(whole) if self.paired else whole)]
        clean, about = self.encoded.images(rows, self._flipped(step, names, start, len(rows)))
        shapes = [row.shape for row in (clean.rows if isinstance(clean, Ragged) else clean)]
        noises, uniforms, prompts = [], [], []
        for place, row in enumerate(rows, start):
            # an image that occurs twice in a step gets different noise; the two images of a pair get the same
            again = self._again(names, place)
            generator = seeded_generator(self.seed, step, names[place], again)
            uniforms.append(torch.rand((), generator=generator))
            dropped = torch.rand((), generator=generator) < self.prompt_dropout
            noises.append(torch.randn(shapes[place - start], generator=generator))
            prompts.append("" if dropped else self._prompt_of(row, generator))
        if mismatched:
            prompts = neighbours([self.encoded.prompts[row] for row in whole], self._elsewhere(step))[start:stop]
        return Batch(
            latents=clean,
            condition=self.encoded.condition(prompts) | about,
            noise=stacked(noises),
            t=self._times(torch.stack(uniforms), self.encoded.liked[rows], positions(shapes)),
            liked=self.encoded.liked[rows],
            weight=self.encoded.weight[rows],
            grade=None if self.encoded.grade is None else self.encoded.grade[rows],
            paired=self.paired,
        )

    def _times(self, uniform: Float[Tensor, "b"], liked: Bool[Tensor, "b"], positions: Int[Tensor, "b"]) -> Times:
        """Return the times of uniform numbers; those of disliked images lie in their window."""
        # u ** (1 / bias) is distributed with the density bias * u ** (bias - 1)
        biased = uniform ** (1 / self.timestep_bias)
        if self.disliked_timesteps != WHOLE:
            disliked = inside(self.disliked_timesteps, self.process, uniform, self.timestep_bias, positions)
            biased = torch.where(liked, biased, disliked)
        return self.process.times(biased, positions)

    def _again(self, names: Sequence[str], place: int) -> int:
        """Return how often an image, or the first one of a pair, stands before a place."""
        return names[: place - place % self._unit].count(names[place])

    def _flipped(self, step: int, names: Sequence[str], start: int, count: int) -> list[bool]:
        """Return which images are mirrored, half of them on average; both images of a pair, or neither."""
        if not self.encoded.flips:
            return []
        generators = (
            seeded_generator(self.seed, step, names[place], self._again(names, place), "flip")
            for place in range(start, start + count)
        )
        return [bool(torch.rand((), generator=generator) < FLIPPED) for generator in generators]

    def _prompt_of(self, row: int, generator: torch.Generator) -> str:
        """Return the prompt of an image. With prefixes, the grade is the probability of the good one."""
        prompt, prefixes = self.encoded.prompts[row], self.encoded.prefixes
        if prefixes is None:
            return prompt
        liking = self.encoded.liked if self.encoded.grade is None else self.encoded.grade
        is_good = float(torch.rand((), generator=generator)) < float(liking[row])
        return prefixes.both(prompt)[0 if is_good else 1]


def _firsts(rows: list[int]) -> list[int]:
    """Return the first image of each row's pair, whose id determines the noise of both."""
    return [rows[place - place % 2] for place in range(len(rows))]
