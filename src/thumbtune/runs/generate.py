"""Generate images for prompts and seeds with a base model or a run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image as pillow
from PIL.Image import Image

from thumbtune import __version__
from thumbtune.clips import Clip, frames_of, own_frames, write_clip
from thumbtune.errors import UsageError, note, shown
from thumbtune.feedback.metadata.generated import Generated, comment_exif, parameters_text, row_of
from thumbtune.feedback.metadata.image_files import parameters_in_file
from thumbtune.feedback.metadata.parameters import plain_text
from thumbtune.files import sha256, write_png
from thumbtune.memory import in_parts
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, run
from thumbtune.runs.drawn_at_once import at_once
from thumbtune.runs.image_list import add_to_list, read_list
from thumbtune.runs.prompt_notes import prompt_notes
from thumbtune.runs.python_api import load, recipe_from
from thumbtune.runs.recipe import Recipe
from thumbtune.training.progress import Progress, Sized, waiting

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

    Each holds what made it, and has a row in metadata.jsonl.

    Notes name prompts that are cut, or hold marks.

    Another image of the same name is kept; the new one then gets the next free name, and a note says so once.

    Raises:
        UsageError: a prompt is empty or holds a zero byte, a way of reading prompts is given for a run, or the list of
            images in the folder cannot be read.
        ThumbtuneError: the model cannot be loaded, or the run has not finished training.
    """
    _refuse_empty(prompt for prompt, _ in pairs)
    read_list(out)  # a list that nobody can read is told before any image is made
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
    generator = waiting(progress, "Loading the model", lambda: load(by.tuned or model, options=by.options))
    for sentence in prompt_notes(texts, options.encoding, build.model_path(model)):
        note(sentence)

    def generated(part: Sequence[tuple[str, int]]) -> Sequence[Image]:
        return generator.generate([prompt for prompt, _ in part], [seed for _, seed in part], sampler)

    common = _common(by, model, sampler, options.encoding, generator.pipeline.scheduler)
    writer = _Writer(out, common, iter(file_names(pairs)))
    written = (path for part, images in in_parts(pairs, most, generated) for path in writer.write(part, images))
    yield from progress(Sized(written, len(pairs)), "Generating")


def _refuse_empty(prompts: Iterable[str]) -> None:
    for prompt in prompts:
        if not prompt.strip() or "\0" in prompt:
            raise UsageError(
                f"The prompt {shown(prompt)} has no words that can be drawn; write what the image should show.",
                code="generate-empty-prompt",
            )


@dataclass
class _Writer:
    """Write images with what made them, and their rows; `names` are those of the images to come."""

    out: Path
    common: Generated
    names: Iterator[str]
    is_told: bool = False

    def write(self, pairs: Sequence[tuple[str, int]], images: Sequence[Image]) -> Sequence[Path]:
        """Write the images of these prompts and seeds, then their rows, and return their paths."""
        made: dict[Path, Generated] = {}
        for (prompt, seed), image in zip(pairs, images, strict=True):
            size = {"width": image.width, "height": image.height, "frames": len(frames_of(image))}
            one = replace(self.common, prompt=prompt, seed=seed, **size)
            wanted = (self.out / next(self.names)).with_suffix(".webp" if isinstance(image, Clip) else ".png")
            path = free_path(wanted, image, prompt)
            if path != wanted and not self.is_told:
                self.is_told = True
                note(f"{wanted} is another image, and nothing is written over it; the new one is {path.name}.")
            _write(path, image, one)
            made[path] = one
        add_to_list(self.out, [row_of(one, path.name) for path, one in made.items()])
        return [*made]


def _common(by: Generator, model: str, sampler: Sampler, encoding: PromptEncoding, scheduler: Any) -> Generated:
    """Return what all images of one call have in common; prompt, seed and size are those of each."""
    return Generated(
        prompt="",
        seed=0,
        width=0,
        height=0,
        negative=sampler.negative,
        steps=sampler.steps,
        guidance=sampler.guidance,
        sampler=type(scheduler).__name__.removesuffix("Scheduler"),
        model="+".join([model_name(model), *([by.tuned.resolve().name] if by.tuned else [])]),
        syntax=encoding.syntax,
        clip_skip=encoding.clip_skip,
    )


def model_name(model: str) -> str:
    """Return a model's name without the folders of this machine: a file or a folder by its own name, a hub id whole."""
    path = Path(model)
    return (path.stem if path.is_file() else path.resolve().name) if path.exists() else model


def _write(path: Path, image: Image, made: Generated) -> None:
    """Write an image with what made it: as a PNG, or of a clip as a WebP animation."""
    text = parameters_text(made, __version__)
    if isinstance(image, Clip):
        write_clip(path, image, exif=comment_exif(text))
    else:
        write_png(path, image, texts={"parameters": text})


def free_path(wanted: Path, image: Image, prompt: str | None = None) -> Path:
    """Return a path for an image: the wanted one, or the next that is free or has this image already.

    `_`, which is in no other name, stands before the number. An image of another prompt is another image.
    """
    path, number = wanted, 2
    while path.exists() and not (_holds(path, image) and _is_of(path, prompt)):
        path, number = wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}"), number + 1
    return path


def _is_of(path: Path, prompt: str | None) -> bool:
    """Return whether an image names this prompt, or none: earlier versions wrote none."""
    if prompt is None:
        return True
    named = parameters_in_file(path).prompt
    return named is None or named == plain_text(prompt)


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
