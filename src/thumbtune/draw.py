"""Draw pictures for prompts and seeds, from a base model or a run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from thumbtune import build, run
from thumbtune.batches import Progress
from thumbtune.config import Recipe
from thumbtune.evaluation.duel import save_picture
from thumbtune.models.protocol import Sampler
from thumbtune.models.stable_diffusion import StableDiffusion, load_pipeline

AT_ONCE = 16


def pictures(
    pairs: Sequence[tuple[str, int]],
    sampler: Sampler,
    out: Path,
    progress: Progress,
    *,
    model: str = Recipe().model,
    tuned: Path | None = None,
) -> Iterator[Path]:
    """Write one PNG per (prompt, seed) pair and yield its path.

    Raises:
        ThumbtuneError: the model cannot be loaded, or the run is not finished.
    """
    from accelerate import Accelerator

    device = Accelerator().device
    if tuned is not None:
        painter = run.trained_model(run.recipe_in(tuned), tuned, device)
    else:
        painter = StableDiffusion(load_pipeline(build.model_path(model))).to(device)
    for start in progress(range(0, len(pairs), AT_ONCE), "Drawing"):
        part = pairs[start : start + AT_ONCE]
        images = painter.generate([prompt for prompt, _ in part], [seed for _, seed in part], sampler)
        for (prompt, seed), image in zip(part, images, strict=True):
            yield save_picture(image, out / f"{file_stem(prompt)}-{seed}.png")


def file_stem(prompt: str) -> str:
    """A prompt as a file name: letters and digits, joined by hyphens, not too long."""
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    return "-".join(words)[:60] or "picture"
