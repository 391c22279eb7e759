"""Sample the images of each step: by label with the paper's liked share, or in pairs of one prompt.

Every random number is a function of (seed, step, ...) alone.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from thumbtune.errors import ThumbtuneError, plural


def seeded_generator(*parts: object) -> torch.Generator:
    """Return a generator that is seeded with a hash of the parts."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def check_kinds(liked: Bool[Tensor, "n"], liked_share: float) -> None:
    """Refuse a set that lacks likes, or lacks dislikes although `liked_share` is below 1.

    Raises:
        ThumbtuneError: a kind is missing; the error gives the number of likes and of dislikes.
    """
    likes = int(liked.sum())
    dislikes = len(liked) - likes
    if likes and (dislikes or liked_share >= 1):
        return
    left = f"{plural(likes, 'like')} and {plural(dislikes, 'dislike')} are left to train on, and"
    if not likes:
        raise ThumbtuneError(
            f"{left} training needs likes; add some, or hold none out (train.validation_share=0).",
            code="likes-no-likes",
        )
    raise ThumbtuneError(
        f"{left} a train.liked_share of {liked_share:g} needs both; add dislikes, hold none out "
        "(train.validation_share=0), or set objective.name to sft, which learns from likes alone.",
        code="likes-no-dislikes",
    )


def check_even(size: int) -> None:
    """Refuse a batch that cannot be cut into pairs.

    Raises:
        ThumbtuneError: the size is odd; the error gives the next even one.
    """
    if size % 2:
        raise ThumbtuneError(
            f"train.batch is {size}, and pairs need an even batch; make it {size + 1}.", code="batch-odd"
        )


@dataclass(frozen=True, kw_only=True)
class ByLabel:
    """Sample with replacement; each row is a liked image with probability `liked_share` (the paper's gamma).

    size: images per weight update, over all processes (the effective batch)
    """

    liked: Bool[Tensor, "n"]
    size: int
    liked_share: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        check_kinds(self.liked, self.liked_share)

    @cached_property
    def _pools(self) -> dict[bool, Int[Tensor, "_"]]:
        """Return the rows of each kind of label."""
        return {kind: (self.liked == kind).nonzero()[:, 0] for kind in (True, False)}

    def rows(self, step: int) -> list[int]:
        """Return the rows of the likes in one effective batch."""
        generator = seeded_generator(self.seed, step, "rows")
        wants_liked = torch.rand(self.size, generator=generator) < self.liked_share
        where = torch.rand(self.size, generator=generator, dtype=torch.float64)
        return [
            int(self._pools[like][int(u * len(self._pools[like]))])
            for like, u in zip(wants_liked.tolist(), where.tolist(), strict=True)
        ]


Sides = tuple[list[int], list[int]]  # the liked and the disliked images of one prompt


def pairs_of(prompts: Sequence[str], liked: Bool[Tensor, "n"]) -> list[Sides]:
    """Return the liked and the disliked images of every prompt that has both.

    >>> pairs_of(["a", "a", "b", "a"], torch.tensor([True, False, True, True]))
    [([0, 3], [1])]

    Raises:
        ThumbtuneError: no prompt has both.
    """
    sides: dict[str, Sides] = {}
    for place, (prompt, like) in enumerate(zip(prompts, liked.tolist(), strict=True)):
        sides.setdefault(prompt, ([], []))[0 if like else 1].append(place)
    pairs = [both for both in sides.values() if both[0] and both[1]]
    if not pairs:
        raise ThumbtuneError(
            f"The objective needs a liked and a disliked image of one prompt, and {_missing(len(sides), liked)}",
            code="likes-no-pairs",
        )
    return pairs


def _missing(prompts: int, liked: Bool[Tensor, "n"]) -> str:
    """Return why there are no pairs, and what to do."""
    likes = int(liked.sum())
    dislikes = len(liked) - likes
    if likes and dislikes:
        return f"none of the {prompts} prompts has both; rate more images of a prompt, or choose kto, without pairs."
    other = "choose sft, which learns from likes alone" if likes else "hold none out (train.validation_share=0)"
    return (
        f"{plural(likes, 'like')} and {plural(dislikes, 'dislike')} are left to train on; add "
        f"{'dislikes' if likes else 'likes'} of the same prompts, or {other}."
    )


@dataclass(frozen=True, kw_only=True)
class ByPair:
    """Sample pairs of a liked and a disliked image of one prompt, in proportion to each prompt's separate pairs.

    A prompt with one dislike and nine likes makes one separate pair, so it is as frequent as a prompt with one of each.
    """

    prompts: Sequence[str]
    liked: Bool[Tensor, "n"]
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        pairs_of(self.prompts, self.liked)
        check_even(self.size)

    @cached_property
    def _sides(self) -> list[Sides]:
        return pairs_of(self.prompts, self.liked)

    @cached_property
    def _weights(self) -> Tensor:
        """Return the number of separate pairs that the labels of each prompt make."""
        return torch.tensor([float(min(len(good), len(bad))) for good, bad in self._sides], dtype=torch.float64)

    def rows(self, step: int) -> list[int]:
        """Return the rows of one effective batch: a liked image, its disliked partner, and so on."""
        generator = seeded_generator(self.seed, step, "pairs")
        chosen = torch.multinomial(self._weights, self.size // 2, replacement=True, generator=generator).tolist()
        where = torch.rand(len(chosen), 2, generator=generator, dtype=torch.float64).tolist()
        return [
            side[int(u * len(side))]
            for prompt, places in zip(chosen, where, strict=True)
            for side, u in zip(self._sides[prompt], places, strict=True)
        ]
