"""Duels: the same prompt and the same seed, drawn before and after tuning."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from thumbtune.files import write_whole
from thumbtune.models.protocol import Model, Sampler
from thumbtune.objective.baselines import marked

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
Generate = Callable[[Sequence[str], Sequence[int], Sampler], Sequence[Image.Image]]


@dataclass(frozen=True, kw_only=True)
class Duel:
    """The images of a duel lie in `folder`/before and `folder`/after, named by prompt number and seed.

    No two prompts share a seed: the same initial noise gives different prompts images of one look, so that prompts
    with shared seeds would be no independent trials. `mark` goes before the prompts of the tuned model, where its
    training marked good images so.
    """

    folder: Path
    prompts: Sequence[str]
    per_prompt: int
    first_seed: int
    sampler: Sampler
    mark: str | None = None

    def asked(self, side: str, prompt: int) -> str:
        """What a side's model is asked for."""
        said = self.prompts[prompt]
        return marked(said, self.mark) if self.mark and side == "after" else said

    def seeds(self, prompt: int) -> range:
        """The seeds of one prompt."""
        first = self.first_seed + prompt * self.per_prompt
        return range(first, first + self.per_prompt)

    def path(self, side: str, prompt: int, seed: int) -> Path:
        """Where an image lies, or will; side is `before` or `after`."""
        return self.folder / side / f"{prompt:03d}-{seed}.png"

    def images(self, side: str, prompt: int) -> list[Image.Image]:
        """The images of one side for one prompt, in the order of the seeds."""
        return [self._open(side, prompt, seed) for seed in self.seeds(prompt)]

    def _open(self, side: str, prompt: int, seed: int) -> Image.Image:
        with Image.open(self.path(side, prompt, seed)) as image:
            return image.convert("RGB")


def draw(duel: Duel, model: Model, progress: Progress, at_once: int = 16) -> None:
    """Draw what is not there yet: `before` with the reference, `after` with the tuned network."""
    for side in ("before", "after"):
        with model.reference() if side == "before" else nullcontext():
            draw_side(duel, side, model.generate, progress, at_once)


def draw_side(
    duel: Duel, side: str, generate: Generate, progress: Progress, at_once: int = 16, share: tuple[int, int] = (0, 1)
) -> None:
    """Draw a side's images that are not there yet.

    An image may differ in its last bit by what is drawn beside it. So the batches do not depend on what is there
    already: one that was broken off is drawn again as it was, and only what was missing of it is written. `share` is
    the part of a process among others: (index, count).
    """
    all_of_them = [(p, seed) for p in range(len(duel.prompts)) for seed in duel.seeds(p)]
    batches = [all_of_them[start : start + at_once] for start in range(0, len(all_of_them), at_once)]
    batches = [
        batch
        for batch in batches[share[0] :: share[1]]
        if not all(duel.path(side, p, seed).exists() for p, seed in batch)
    ]
    batch: list[tuple[int, int]]
    for batch in progress(batches, f"Drawing images ({side})"):
        images = generate([duel.asked(side, p) for p, _ in batch], [seed for _, seed in batch], duel.sampler)
        for (p, seed), image in zip(batch, images, strict=True):
            if not duel.path(side, p, seed).exists():
                save_image(image, duel.path(side, p, seed))


def save_image(image: Image.Image, path: Path) -> Path:
    """Write a PNG whole or not at all."""
    return write_whole(path, lambda partial: image.save(partial, "PNG"))
