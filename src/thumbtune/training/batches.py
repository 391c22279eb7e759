"""Make batches from encoded likes: sample images, and noise them by (seed, step, image).

Every random number is a function of (seed, step, image id) alone. So a run is the same in one process or eight, after a
resume, and for any micro-batch. With N noise draws an image, it is a function of (seed, draw, image id), and only the
choice among the draws is one of the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thumbtune.errors import ThumbtuneError
from thumbtune.models.process import Process, Times
from thumbtune.models.window import WHOLE, Window, inside
from thumbtune.training.batch import Batch, Ragged, positions, stacked
from thumbtune.training.encoded import Encoded
from thumbtune.training.neighbours import neighbours
from thumbtune.training.sampling import ByLabel, ByPair, seeded_generator

FLIPPED = 0.5  # the share of mirrored images, where images are mirrored


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What seeds all random numbers of a row. number: of one of the image's draws; 0 for a new one."""

    seed: tuple[object, ...]
    number: int = 0

    def within(self, uniform: Float[Tensor, ""], count: int) -> Float[Tensor, ""]:
        """Return a uniform number inside this draw's part of [0, 1), of `count` equal parts; unchanged for 0."""
        return (self.number + uniform) / count if count else uniform


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
    noise_draws:    the number of draws of each image, of a noise, a time and whether its prompt is dropped; 0: new
                    ones at each step. Draw k lies in the k-th of N equal parts of the noise levels
    """

    encoded: Encoded
    process: Process
    size: int
    liked_share: float = 0.8
    prompt_dropout: float = 0.0
    timestep_bias: float = 1.0
    disliked_timesteps: Window = WHOLE
    paired: bool = False
    noise_draws: int = 0
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
        draws = [self._draw(step, names, place) for place in range(start, start + len(rows))]
        clean, about = self.encoded.images(rows, self._flipped(draws))
        shapes = [row.shape for row in (clean.rows if isinstance(clean, Ragged) else clean)]
        noises, uniforms, prompts = [], [], []
        for row, shape, draw in zip(rows, shapes, draws, strict=True):
            generator = seeded_generator(*draw.seed)
            uniforms.append(draw.within(torch.rand((), generator=generator), self.noise_draws))
            dropped = torch.rand((), generator=generator) < self.prompt_dropout
            noises.append(torch.randn(shape, generator=generator))
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
            draw=None if mismatched else self._numbers(whole, rows, start, draws),
        )

    def _draw(self, step: int, names: Sequence[str], place: int) -> "Draw":
        """Return the draw of a place. The two images of a pair have one."""
        # an image that occurs twice in a step gets two draws
        fresh = (self.seed, step, names[place], self._again(names, place))
        if not self.noise_draws:
            return Draw(seed=fresh)
        number = int(torch.randint(self.noise_draws, (), generator=seeded_generator(*fresh, "draw")))
        return Draw(seed=(self.seed, f"draw {number}", names[place]), number=number)

    def _numbers(
        self, whole: Sequence[int], rows: Sequence[int], start: int, draws: Sequence["Draw"]
    ) -> Int[Tensor, "b"] | None:
        """Return a number for each row, its draw, and the image whose id seeds it."""
        if not self.noise_draws:
            return None
        seeding = (_firsts(list(whole)) if self.paired else whole)[start : start + len(rows)]
        likes = len(self.encoded)
        return torch.tensor(
            [
                (row * likes + first) * self.noise_draws + draw.number
                for row, first, draw in zip(rows, seeding, draws, strict=True)
            ]
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

    def _flipped(self, draws: Sequence["Draw"]) -> list[bool]:
        """Return which images are mirrored, half of them on average; both images of a pair, or neither."""
        if not self.encoded.flips:
            return []
        generators = (seeded_generator(*draw.seed, "flip") for draw in draws)
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
