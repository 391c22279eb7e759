"""Generate images for prompts and seeds with a base model or a run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as pillow
from PIL.Image import Image

from thumbtune.clips import Clip, frames_of, own_frames, write_clip
from thumbtune.errors import UsageError, note, shown
from thumbtune.files import sha256, write_png
from thumbtune.memory import in_parts
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, run
from thumbtune.runs.drawn_at_once import at_once
from thumbtune.runs.prompt_notes import prompt_notes
from thumbtune.runs.python_api import load, recipe_from
from thumbtune.runs.recipe import Recipe
from thumbtune.training.batches import Progress, Sized

IMAGES_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Generator:
    """What generates images: a finished run, else a base model.

    model:   a folder, a file or a hub id; None: the bundled model
    options: of loading the base model, and how it reads prompts; a run has its own
    """

    model: str | None = None
    tuned: Path | None = None
    options: ModelOptions = PLAIN


def generate_images(
    pairs: Sequence[tuple[str, int]],
    sampler: Sampler,
    out: Path,
    progress: Progress,
    by: Generator | None = None,
) -> Iterator[Path]:
    """Write one PNG per (prompt, seed) pair, or WebP animation for a clip, and yield its path.

    Notes name prompts that are cut, or hold marks.

    Another image of the same name is kept; the new one then gets the next free name, and a note says so once.

    Raises:
        UsageError: a prompt is empty or holds a zero byte, or a way of reading prompts is given for a run.
        ThumbtuneError: the model cannot be loaded, or the run has not finished training.
    """
    for prompt, _ in pairs:
        if not prompt.strip() or "\0" in prompt:
            raise UsageError(
                f"The prompt {shown(prompt)} has no words that can be drawn; write what the image should show.",
                code="generate-empty-prompt",
            )
    by = by or Generator()
    options, model = by.options, by.model or Recipe().model
    recipe = None
    if by.tuned is not None:
        recipe = run.recipe_in(by.tuned)  # raises if the folder is not a run
        options, model = build.options_of(recipe), recipe.model
    half = build.half_of(recipe or recipe_from({"model": model}))
    texts = [*(prompt for prompt, _ in pairs), sampler.negative]
    most = max(1, min(IMAGES_AT_ONCE, len(pairs))) if sampler.frames == 1 else 1
    most = at_once(build.model_path(model), half, sampler.size, most, options, texts)
    generator = load(by.tuned or model, options=by.options)
    for sentence in prompt_notes(texts, options.encoding, build.model_path(model)):
        note(sentence)

    def generated(part: Sequence[tuple[str, int]]) -> Sequence[Image]:
        return generator.generate([prompt for prompt, _ in part], [seed for _, seed in part], sampler)

    names, is_told = iter(file_names(pairs)), False
    parts = Sized(in_parts(pairs, most, generated), math.ceil(len(pairs) / most))
    for _, images in progress(parts, "Generating"):
        for image in images:
            wanted = (out / next(names)).with_suffix(".webp" if isinstance(image, Clip) else ".png")
            path = free_path(wanted, image)
            if path != wanted and not is_told:
                is_told = True
                note(f"{wanted} is another image, and nothing is written over it; the new one is {path.name}.")
            yield (write_clip if isinstance(image, Clip) else write_png)(path, image)


def free_path(wanted: Path, image: Image) -> Path:
    """Return a path for an image: the wanted one, or the next that is free or has this image already.

    `_`, which is in no other name, stands before the number.
    """
    path, number = wanted, 2
    while path.exists() and not _holds(path, image):
        path, number = wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}"), number + 1
    return path


def _holds(path: Path, image: Image) -> bool:
    """Return whether a file has the pixels of an image, or of all frames of a clip."""
    try:
        if isinstance(image, Clip):
            frames = frames_of(own_frames(path))
            return [one.tobytes() for one in frames] == [one.tobytes() for one in image.frames]
        with pillow.open(path) as there:
            return there.size == image.size and there.convert("RGB").tobytes() == image.convert("RGB").tobytes()
    except (OSError, ValueError):
        return False


def file_names(pairs: Sequence[tuple[str, int]]) -> list[str]:
    """Return a file name for each (prompt, seed). Prompts with the same stem get a part of their hashes."""
    prompts: dict[str, set[str]] = {}
    for prompt, _ in pairs:
        prompts.setdefault(file_stem(prompt), set()).add(prompt)
    hashes = {p: f"-{sha256(p.encode())[:6]}" for same in prompts.values() if len(same) > 1 for p in same}
    return [f"{file_stem(prompt)}{hashes.get(prompt, '')}-{seed}.png" for prompt, seed in pairs]


def file_stem(prompt: str) -> str:
    """Return a prompt as a file name: letters and digits, joined by hyphens, at most 60 characters."""
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    return "-".join(words)[:60] or "image"
