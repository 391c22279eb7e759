"""The images of a side: the file of each prompt and seed, and the generation of missing images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from thumbtune.clips import write_clip
from thumbtune.files import write_png
from thumbtune.memory import in_parts
from thumbtune.models.protocol import Sampler
from thumbtune.training.progress import in_images

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
Generate = Callable[[Sequence[str], Sequence[int], Sampler], Sequence[Image.Image]]


@dataclass(frozen=True, kw_only=True)
class ImageGrid:
    """Prompts x seeds. The image of a side, a prompt and a seed is the file `folder`/SIDE/PROMPT-SEED.png, or .webp.

    Clips, of a sampler with frames, are WebP animations.

    No two prompts share a seed. Equal initial noise gives images of different prompts one look, so prompts that shared
    their seeds would not be independent trials.
    """

    folder: Path
    prompts: Sequence[str]
    per_prompt: int
    first_seed: int
    sampler: Sampler

    def seeds(self, prompt: int) -> range:
        """Return the seeds of one prompt."""
        first = self.first_seed + prompt * self.per_prompt
        return range(first, first + self.per_prompt)

    def places(self) -> list[tuple[int, int]]:
        """Return (prompt, seed) of every image of a side, in order."""
        return [(prompt, seed) for prompt in range(len(self.prompts)) for seed in self.seeds(prompt)]

    def path(self, side: str, prompt: int, seed: int) -> Path:
        """Return the file of an image, or of a clip."""
        suffix = ".png" if self.sampler.frames == 1 else ".webp"
        return self.folder / side / f"{prompt:03d}-{seed}{suffix}"

    def is_whole(self, side: str) -> bool:
        """Return whether every image of a side is there."""
        return all(self.path(side, *place).exists() for place in self.places())

    def images(self, side: str, prompt: int) -> list[Image.Image]:
        """Return the images of one side and one prompt, in the order of their seeds."""
        return [self._opened(side, prompt, seed) for seed in self.seeds(prompt)]

    def _opened(self, side: str, prompt: int, seed: int) -> Image.Image:
        with Image.open(self.path(side, prompt, seed)) as image:
            return image.convert("RGB")


def generate_side(
    grid: ImageGrid, side: str, generate: Generate, progress: Progress, batch: int, share: tuple[int, int] = (0, 1)
) -> None:
    """Generate the images of a side that are missing.

    The last bit of an image may depend on the images generated beside it. So batches do not depend on which files are
    there: a batch that was interrupted is generated whole again, and only its missing files are written.

    Args:
        batch: images that are generated together; fewer if memory runs out.
        share: (index, count) of this process among others; each takes every count-th batch.
    """
    places = grid.places()
    batches = [places[start : start + batch] for start in range(0, len(places), batch)][share[0] :: share[1]]
    todo = [part for part in batches if not all(grid.path(side, *place).exists() for place in part)]

    def generated(part: Sequence[tuple[int, int]]) -> Sequence[Image.Image]:
        return generate([grid.prompts[prompt] for prompt, _ in part], [seed for _, seed in part], grid.sampler)

    whole: list[tuple[int, int]]
    for whole in progress(in_images(todo), f"Generating images ({side})"):
        for part, images in in_parts(whole, batch, generated):
            for place, image in zip(part, images, strict=True):
                if not grid.path(side, *place).exists():
                    write = write_png if grid.sampler.frames == 1 else write_clip
                    write(grid.path(side, *place), image, durable=True)
