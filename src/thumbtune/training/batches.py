"""Likes + a model -> batches: encode once, draw images, noise them by (seed, step, image).

Every random number is a function of (seed, step, image id), never of what was drawn before, so that a run is the same
on one process or eight, after a resume, and whatever the size of the micro-batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.likes import image_of
from thumbtune.models.process import Latents, Process, Times
from thumbtune.models.protocol import Condition, Model
from thumbtune.objective.baselines import marked
from thumbtune.training.cache import Cache
from thumbtune.training.sampling import ByThumb, InPairs, seeded_generator

Progress = Callable[[Iterable[Any], str], Iterable[Any]]


def quiet(items: Iterable[Any], what: str) -> Iterable[Any]:
    """The progress bar of a caller that shows none."""
    return items


@dataclass(frozen=True)
class Sized:
    """Something to go through whose length is known beforehand, so that a progress bar can say when it ends."""

    items: Iterable[Any]
    total: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return self.total


@dataclass(frozen=True)
class Batch:
    """Some images at one noise level each, ready to be judged. All tensors have one row per image.

    paired: rows 2i and 2i + 1 are the liked and the disliked image of a pair
    """

    latents: Latents
    condition: Condition
    noise: Latents
    t: Times
    liked: Bool[Tensor, "b"]
    weight: Float[Tensor, "b"]
    grade: Float[Tensor, "b"] | None = None
    paired: bool = False

    def __len__(self) -> int:
        return len(self.liked)

    @property
    def partner(self) -> Int[Tensor, "b"] | None:
        """The row of the other image of each pair, if there are pairs."""
        return torch.arange(len(self), device=self.liked.device) ^ 1 if self.paired else None

    def whole(self, keep: Bool[Tensor, "b"]) -> Bool[Tensor, "b"]:
        """`keep` without the rows whose partner is not kept."""
        partner = self.partner
        return keep if partner is None else keep & keep[partner]

    def only(self, keep: Bool[Tensor, "b"]) -> "Batch":
        """The rows where `keep` is true; of pairs, both rows or none."""
        return self._changed(lambda x: x[keep])

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return self._changed(lambda x: x.to(device))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same change to every tensor."""
        return Batch(
            latents=change(self.latents),
            condition={name: change(value) for name, value in self.condition.items()},
            noise=change(self.noise),
            t=change(self.t),
            liked=change(self.liked),
            weight=change(self.weight),
            grade=None if self.grade is None else change(self.grade),
            paired=self.paired,
        )


class Encoded:
    """Likes as a model sees them: latents and prompt embeddings in a cache, thumbs and weights in memory.

    marks: what may be put before a prompt, as conditional fine-tuning does
    """

    def __init__(self, likes: Any, model: Model, cache: Cache, marks: Sequence[str] = ()) -> None:
        self.likes = likes
        self.cache = cache
        self.image_ids: list[str] = list(likes["image_id"])
        self.prompts: list[str] = list(likes["prompt"])
        self.liked = torch.tensor(list(likes["label"]), dtype=torch.bool)
        self.weight = torch.tensor(list(likes["weight"]), dtype=torch.float32)
        self.grade = _grades(likes, self.liked)
        self.model = model
        self.marks = tuple(marks)
        self._mark = model.fingerprint()

    def __len__(self) -> int:
        return len(self.image_ids)

    def _image_key(self, image_id: str) -> str:
        return f"latent:{self._mark}:{image_id}"

    def _prompt_key(self, prompt: str) -> str:
        return f"prompt:{self._mark}:{prompt}"

    def fill(self, progress: Progress = quiet, at_once: int = 16) -> "Encoded":
        """Encode whatever the cache does not hold yet."""
        said = {marked(prompt, mark) for prompt in self.prompts for mark in self.marks}
        prompts = sorted({*self.prompts, *said, ""})

        def encode(rows: list[int]) -> list[dict[str, Tensor]]:
            return [{"latent": latent} for latent in self.model.encode([image_of(self.likes, i) for i in rows])]

        def embed(rows: list[int]) -> list[dict[str, Tensor]]:
            condition = self.model.embed([prompts[i] for i in rows])
            return [{name: value[i] for name, value in condition.items()} for i in range(len(rows))]

        images = [self._image_key(name) for name in self.image_ids]
        self.cache.fill(images, encode, at_once, lambda chunks: progress(chunks, "Encoding images"))
        self.cache.fill([self._prompt_key(prompt) for prompt in prompts], embed, at_once)
        return self

    def latents(self, rows: Sequence[int]) -> Latents:
        """The latents of some rows, in their order."""
        return torch.stack([self.cache.get(self._image_key(self.image_ids[i]))["latent"] for i in rows])

    def condition(self, prompts: Sequence[str]) -> Condition:
        """The embeddings of some prompts, which must be prompts of these likes, marked or not, or empty."""
        each = [self.cache.get(self._prompt_key(prompt)) for prompt in prompts]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def _grades(likes: Any, liked: Bool[Tensor, "n"]) -> Float[Tensor, "n"] | None:
    """How much each image is liked, a thumb standing for 1 or 0; None where nobody said more than thumbs."""
    said = list(likes["grade"]) if "grade" in likes.column_names else []
    if all(grade is None for grade in said):
        return None
    return torch.tensor([float(like) if g is None else g for g, like in zip(said, liked.tolist(), strict=True)])


def check_prompts_differ(prompts: Sequence[str]) -> None:
    """Refuse a set in which no image can be shown under another's prompt.

    Raises:
        ThumbtuneError: all prompts are the same.
    """
    if len(set(prompts)) == 1:
        raise ThumbtuneError(
            f"Every image to train on has the prompt {prompts[0]!r}, so that none can be paired with another one; "
            "choose another objective.reference_point than mismatched."
        )


def neighbours(prompts: Sequence[str], elsewhere: Sequence[str] = ()) -> list[str]:
    """For each place the prompt that comes next, in a circle, and is not the same; else the first such `elsewhere`.

    >>> neighbours(["a", "a", "b"])
    ['b', 'b', 'a']
    >>> neighbours(["a", "a"], ["a", "c"])
    ['c', 'c']

    Raises:
        ThumbtuneError: all prompts are the same.
    """
    check_prompts_differ([*prompts, *elsewhere])
    circle = [*prompts, *prompts, *elsewhere]
    return [next(other for other in circle[i + 1 :] if other != own) for i, own in enumerate(prompts)]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Which images are judged at which step, and how they are noised.

    size:           images per weight update, over all processes (the effective batch)
    liked_share:    the paper's gamma: the chance that a row is drawn from the liked images
    prompt_dropout: the chance that an image is shown without its prompt
    timestep_bias:     1: every noise level alike; above 1: the noisier ones more often; below 1: less
    paired:         draw pairs of a liked and a disliked image of one prompt, which share their noise and time
    marks:          what goes before the prompt of a good and of a bad image
    """

    encoded: Encoded
    process: Process
    size: int
    liked_share: float = 0.8
    prompt_dropout: float = 0.0
    timestep_bias: float = 1.0
    paired: bool = False
    marks: tuple[str, str] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        assert self._draw is not None  # made at once: it refuses likes that cannot be drawn from

    @cached_property
    def _draw(self) -> ByThumb | InPairs:
        liked = self.encoded.liked
        if self.paired:
            return InPairs(prompts=self.encoded.prompts, liked=liked, size=self.size, seed=self.seed)
        return ByThumb(liked=liked, size=self.size, liked_share=self.liked_share, seed=self.seed)

    def rows(self, step: int) -> list[int]:
        """The images of one effective batch."""
        return self._draw.rows(step)

    @cached_property
    def _known(self) -> list[str]:
        """Every prompt of the likes, once, in order."""
        return sorted(set(self.encoded.prompts))

    def _elsewhere(self, step: int) -> list[str]:
        """All prompts, from one on that changes with the step, for batches that hold a single one."""
        first = int(torch.randint(len(self._known), (), generator=seeded_generator(self.seed, step, "elsewhere")))
        return self._known[first:] + self._known[:first]

    def batch(self, step: int, start: int = 0, stop: int | None = None, mismatched: bool = False) -> Batch:
        """Rows start..stop of the effective batch of a step, with their own noise and times.

        `mismatched` gives every image the prompt of a neighbour in the effective batch, in place of its own.
        """
        drawn = self.rows(step)
        rows = drawn[start:stop]
        names = [self.encoded.image_ids[row] for row in (drawn if not self.paired else _firsts(drawn))]
        clean = self.encoded.latents(rows)
        noises, uniforms, prompts = [], [], []
        for place, row in enumerate(rows, start):
            # an image drawn twice in a step gets other noise the second time; two of a pair get the same
            again = names[: place - place % 2 if self.paired else place].count(names[place])
            generator = seeded_generator(self.seed, step, names[place], again)
            uniforms.append(torch.rand((), generator=generator))
            dropped = torch.rand((), generator=generator) < self.prompt_dropout
            noises.append(torch.randn(clean.shape[1:], generator=generator))
            prompts.append("" if dropped else self._said(row, generator))
        if mismatched:
            prompts = neighbours([self.encoded.prompts[row] for row in drawn], self._elsewhere(step))[start:stop]
        return Batch(
            latents=clean,
            condition=self.encoded.condition(prompts),
            noise=torch.stack(noises),
            # u ** (1 / bias) is distributed with the density bias * u ** (bias - 1)
            t=self.process.times(torch.stack(uniforms) ** (1 / self.timestep_bias)),
            liked=self.encoded.liked[rows],
            weight=self.encoded.weight[rows],
            grade=None if self.encoded.grade is None else self.encoded.grade[rows],
            paired=self.paired,
        )

    def _said(self, row: int, generator: torch.Generator) -> str:
        """The prompt of an image; where there are marks, with that of a good image as often as its grade says."""
        prompt = self.encoded.prompts[row]
        if self.marks is None:
            return prompt
        liking = self.encoded.liked if self.encoded.grade is None else self.encoded.grade
        good = float(torch.rand((), generator=generator)) < float(liking[row])
        return marked(prompt, self.marks[0 if good else 1])


def _firsts(rows: list[int]) -> list[int]:
    """The first image of each row's pair: both draw their noise by its name."""
    return [rows[place - place % 2] for place in range(len(rows))]
