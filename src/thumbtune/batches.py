"""Likes + a model -> batches: encode once, draw likes and dislikes in the paper's ratio, noise by (seed, step, image).

Every random number is a function of (seed, step, image id), never of what was drawn before, so that a run is the same
on one process or eight, after a resume, and whatever the size of the micro-batch.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thumbtune.cache import Cache
from thumbtune.errors import ThumbtuneError
from thumbtune.models.protocol import Condition, Model
from thumbtune.process import Latents, Process, Times

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


def counted(*parts: object) -> torch.Generator:
    """A generator whose whole stream is a function of the parts."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class Batch:
    """Some images at one noise level each, ready to be judged. All tensors have one row per image."""

    latents: Latents
    condition: Condition
    noise: Latents
    t: Times
    liked: Bool[Tensor, "b"]
    weight: Float[Tensor, "b"]

    def __len__(self) -> int:
        return len(self.liked)

    def only(self, keep: Bool[Tensor, "b"]) -> "Batch":
        """The rows where `keep` is true."""
        condition = {name: value[keep] for name, value in self.condition.items()}
        rest = (self.noise[keep], self.t[keep], self.liked[keep], self.weight[keep])
        return Batch(self.latents[keep], condition, *rest)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        condition = {name: value.to(device) for name, value in self.condition.items()}
        rest = (x.to(device) for x in (self.noise, self.t, self.liked, self.weight))
        return Batch(self.latents.to(device), condition, *rest)


class Encoded:
    """Likes as a model sees them: latents and prompt embeddings in a cache, thumbs and weights in memory."""

    def __init__(self, likes: Any, model: Model, cache: Cache) -> None:
        self.likes = likes
        self.cache = cache
        self.image_ids: list[str] = list(likes["image_id"])
        self.prompts: list[str] = list(likes["prompt"])
        self.liked = torch.tensor(list(likes["label"]), dtype=torch.bool)
        self.weight = torch.tensor(list(likes["weight"]), dtype=torch.float32)
        self.model = model
        self._mark = model.fingerprint()

    def __len__(self) -> int:
        return len(self.image_ids)

    def _image_key(self, image_id: str) -> str:
        return f"latent:{self._mark}:{image_id}"

    def _prompt_key(self, prompt: str) -> str:
        return f"prompt:{self._mark}:{prompt}"

    def fill(self, progress: Progress = quiet, at_once: int = 16) -> "Encoded":
        """Encode whatever the cache does not hold yet."""
        prompts = sorted({*self.prompts, ""})

        def encode(rows: list[int]) -> list[dict[str, Tensor]]:
            return [{"latent": latent} for latent in self.model.encode([self.likes[i]["image"] for i in rows])]

        def embed(rows: list[int]) -> list[dict[str, Tensor]]:
            condition = self.model.embed([prompts[i] for i in rows])
            return [{name: value[i] for name, value in condition.items()} for i in range(len(rows))]

        pictures = [self._image_key(name) for name in self.image_ids]
        self.cache.fill(pictures, encode, at_once, lambda chunks: progress(chunks, "Encoding pictures"))
        self.cache.fill([self._prompt_key(prompt) for prompt in prompts], embed, at_once)
        return self

    def latents(self, rows: Sequence[int]) -> Latents:
        """The latents of some rows, in their order."""
        return torch.stack([self.cache.get(self._image_key(self.image_ids[i]))["latent"] for i in rows])

    def condition(self, prompts: Sequence[str]) -> Condition:
        """The embeddings of some prompts, which must be prompts of these likes or empty."""
        each = [self.cache.get(self._prompt_key(prompt)) for prompt in prompts]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def check_kinds(liked: Bool[Tensor, "n"], liked_share: float) -> None:
    """Refuse a set that lacks a kind of thumb that is to be drawn.

    Raises:
        ThumbtuneError: it says how many there are of each.
    """
    likes = int(liked.sum())
    dislikes = len(liked) - likes
    if (liked_share > 0 and not likes) or (liked_share < 1 and not dislikes):
        raise ThumbtuneError(
            f"The likes hold {likes} likes and {dislikes} dislikes, and a liked share of {liked_share:g} needs both; "
            "add the missing thumbs, or set objective.name to sft, which learns from likes alone."
        )


def check_prompts_differ(prompts: Sequence[str]) -> None:
    """Refuse a set in which no image can be shown under another's prompt.

    Raises:
        ThumbtuneError: all prompts are the same.
    """
    if len(set(prompts)) == 1:
        raise ThumbtuneError(
            f"Every image to train on has the prompt {prompts[0]!r}, so that none can be paired with another one; "
            "choose another objective.neutral than mismatched."
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
    """

    encoded: Encoded
    process: Process
    size: int
    liked_share: float = 0.8
    prompt_dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_kinds(self.encoded.liked, self.liked_share)

    @cached_property
    def _pools(self) -> dict[bool, Int[Tensor, "_"]]:
        """The rows of each kind of thumb."""
        return {kind: (self.encoded.liked == kind).nonzero()[:, 0] for kind in (True, False)}

    def rows(self, step: int) -> list[int]:
        """The images of one effective batch, drawn with replacement: each liked with chance `liked_share`."""
        generator = counted(self.seed, step, "rows")
        wants_liked = torch.rand(self.size, generator=generator) < self.liked_share
        where = torch.rand(self.size, generator=generator, dtype=torch.float64)
        return [
            int(self._pools[like][int(u * len(self._pools[like]))])
            for like, u in zip(wants_liked.tolist(), where.tolist(), strict=True)
        ]

    @cached_property
    def _known(self) -> list[str]:
        """Every prompt of the likes, once, in order."""
        return sorted(set(self.encoded.prompts))

    def _elsewhere(self, step: int) -> list[str]:
        """All prompts, from one on that changes with the step, for batches that hold a single one."""
        first = int(torch.randint(len(self._known), (), generator=counted(self.seed, step, "elsewhere")))
        return self._known[first:] + self._known[:first]

    def batch(self, step: int, start: int = 0, stop: int | None = None, mismatched: bool = False) -> Batch:
        """Rows start..stop of the effective batch of a step, with their own noise and times.

        `mismatched` gives every image the prompt of a neighbour in the effective batch, in place of its own.
        """
        drawn = self.rows(step)
        rows = drawn[start:stop]
        names = [self.encoded.image_ids[row] for row in drawn]
        clean = self.encoded.latents(rows)
        noises, uniforms, prompts = [], [], []
        for place, row in enumerate(rows, start):
            again = names[:place].count(names[place])  # an image drawn twice in a step gets other noise the second time
            generator = counted(self.seed, step, names[place], again)
            uniforms.append(torch.rand((), generator=generator))
            dropped = torch.rand((), generator=generator) < self.prompt_dropout
            noises.append(torch.randn(clean.shape[1:], generator=generator))
            prompts.append("" if dropped else self.encoded.prompts[row])
        if mismatched:
            prompts = neighbours([self.encoded.prompts[row] for row in drawn], self._elsewhere(step))[start:stop]
        return Batch(
            latents=clean,
            condition=self.encoded.condition(prompts),
            noise=torch.stack(noises),
            t=self.process.times(torch.stack(uniforms)),
            liked=self.encoded.liked[rows],
            weight=self.encoded.weight[rows],
        )
