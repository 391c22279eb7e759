"""Draw images for prompts and seeds, from a base model or a run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from thumbtune.distributed import team
from thumbtune.files import sha256, write_png
from thumbtune.models.protocol import Sampler
from thumbtune.models.stable_diffusion import StableDiffusion, load_pipeline
from thumbtune.objective.baselines import marked
from thumbtune.runs import build, run
from thumbtune.runs.recipe import Recipe
from thumbtune.training.batches import Progress

AT_ONCE = 16


def generate_images(
    pairs: Sequence[tuple[str, int]],
    sampler: Sampler,
    out: Path,
    progress: Progress,
    *,
    model: str | None = None,
    tuned: Path | None = None,
) -> Iterator[Path]:
    """Write one PNG per (prompt, seed) pair and yield its path.

    Raises:
        ThumbtuneError: the model cannot be loaded, or the run is not finished.
    """
    device = team().device
    mark = None
    if tuned is not None:
        painter, mark = run.trained_model(run.recipe_in(tuned), tuned, device), run.mark_of(tuned)
    else:
        painter = StableDiffusion(load_pipeline(build.model_path(model or Recipe().model))).to(device)
    names = file_names(pairs)
    for start in progress(range(0, len(pairs), AT_ONCE), "Drawing"):
        part = pairs[start : start + AT_ONCE]
        asked = [marked(prompt, mark) if mark else prompt for prompt, _ in part]
        images = painter.generate(asked, [seed for _, seed in part], sampler)
        for name, image in zip(names[start : start + AT_ONCE], images, strict=True):
            yield write_png(out / name, image)


def file_names(pairs: Sequence[tuple[str, int]]) -> list[str]:
    """A file name for each (prompt, seed); prompts that differ only in what a name leaves out get a mark each."""
    prompts: dict[str, set[str]] = {}
    for prompt, _ in pairs:
        prompts.setdefault(file_stem(prompt), set()).add(prompt)
    marks = {p: f"-{sha256(p.encode())[:6]}" for alike in prompts.values() if len(alike) > 1 for p in alike}
    return [f"{file_stem(prompt)}{marks.get(prompt, '')}-{seed}.png" for prompt, seed in pairs]


def file_stem(prompt: str) -> str:
    """A prompt as a file name: letters and digits, joined by hyphens, not too long."""
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    return "-".join(words)[:60] or "image"
