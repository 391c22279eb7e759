"""Images of several sides for the same prompts and seeds, and their scores, stored in one folder.

SIDE/      the images of a side, PROMPT-SEED.png      images.csv         their prompts and hashes
duel.json  what is compared                           scores.csv         the score of each image by each scorer
                                                      environment.json   versions and hardware

The same plan goes on where an earlier call stopped, and ends with the same bytes.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thumbtune import distributed
from thumbtune.duels import gallery_folder
from thumbtune.duels.image_grid import ImageGrid, generate_side
from thumbtune.duels.sides import Side, loaded, side
from thumbtune.duels.unused import refuse_unused, used_notes
from thumbtune.evaluation.image_folder import images_by_prompt
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.evaluation.scorers.resolve import LoadOptions, resolve_scorers
from thumbtune.evaluation.scorers.score_cache import CACHE_FILE, ScoreCache
from thumbtune.evaluation.scorers.scoring import ImageScores, PromptedImage, Team, score_images
from thumbtune.files import file_sha256, write_whole
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.protocol import Sampler
from thumbtune.objective.prompt_prefix import prefixed
from thumbtune.runs import build
from thumbtune.runs.drawn_at_once import at_once
from thumbtune.runs.prompt_notes import prompt_notes
from thumbtune.training.progress import Progress, waiting

BATCH = 8  # images that are generated together at most; their number is kept, see `image_grid.generate_side`


@dataclass(frozen=True, kw_only=True)
class GalleryPlan:
    """What is generated and scored.

    sides: the name of each side, which is the name of its folder, and what stands for it (see `sides`).
    scorers: see `evaluation.scorers.resolve`; with no scorer, images are generated and not scored.
    base: the model that a LoRA or a UNet belongs to.
    precision: in which all sides generate.
    options: of loading models, and how they read prompts; a run has its own.
    given: the names of the options that a person gave, of which those that count for no side are refused; None: of
        `options`, those that are not at their defaults.
    replace: whether a duel of another plan in this folder is moved to `OUT-before`, or `OUT-before-2` and so on;
        otherwise the folder is refused.
    """

    sides: Mapping[str, str]
    prompts: PromptSet
    out: Path
    scorers: tuple[str, ...]
    per_prompt: int = 4
    first_seed: int = 10_000
    sampler: Sampler = field(default_factory=Sampler)
    base: str | None = None
    precision: build.Precision = "no"
    options: ModelOptions = PLAIN
    places: Locations = field(default_factory=Locations)
    cache: Path | None = CACHE_FILE
    replace: bool = False
    given: tuple[str, ...] | None = None

    def grid(self) -> ImageGrid:
        """Return where the images lie."""
        return ImageGrid(
            folder=self.out,
            prompts=self.prompts.prompts,
            per_prompt=self.per_prompt,
            first_seed=self.first_seed,
            sampler=self.sampler,
        )


@dataclass(frozen=True)
class GalleryImage:
    """An image of the gallery: its side, the number of its prompt, its seed and its file."""

    side: str
    prompt: int
    seed: int
    file: PromptedImage


@dataclass(frozen=True)
class Gallery:
    """The images, side by side and prompt by prompt, and the scores of each scorer in the same order.

    replaced: where the duel was moved that this one replaced, on the main process.
    notes: what people must know of the images.
    """

    plan: GalleryPlan
    images: list[GalleryImage]
    scores: list[ImageScores]
    replaced: Path | None = None
    notes: tuple[str, ...] = ()

    def table(self, scorer: str, side: str) -> list[list[float]]:
        """Return a scorer's scores of a side, [prompts, per_prompt]; NaN where it failed."""
        scores = next(each for each in self.scores if each.id == scorer)
        values = [v for v, image in zip(scores.values, self.images, strict=True) if image.side == side]
        numbers = [float("nan") if value is None else value for value in values]
        k = self.plan.per_prompt
        return [numbers[start : start + k] for start in range(0, len(numbers), k)]

    def name(self, image: GalleryImage) -> str:
        """Return the path of an image inside the folder."""
        return image.file.path.relative_to(self.plan.out).as_posix()


def gather(plan: GalleryPlan, progress: Progress) -> Gallery | None:
    """Do as `gather_everywhere`; return the gallery on the main process, None on others."""
    gallery, is_main = gather_everywhere(plan, progress)
    return gallery if is_main else None


def gather_everywhere(plan: GalleryPlan, progress: Progress) -> tuple[Gallery, bool]:
    """Generate the images that are missing, then score them.

    Returns:
        The gallery, the same on every process, and whether this is the main process, which writes.

    Raises:
        UsageError: a side, a scorer or a number of images is off, or the folder holds something else.
        ThumbtuneError: a model or a scorer cannot be loaded, or the disk is full.
    """
    state = distributed.team()
    team = Team(state.process_index, state.num_processes)
    sides = {name: side(source, plan.base, plan.options, plan.precision) for name, source in plan.sides.items()}
    refuse_unused(plan.options, sides.values(), plan.given)
    groups = resolve_scorers(plan.scorers, LoadOptions(build.BUNDLED / "judge", plan.places, str(state.device)))
    hashes: dict[Path, str] = {}
    replaced = None
    if state.is_main_process:  # what can be refused is refused before anything is generated
        for each in sides.values():
            if each.check is not None:
                each.check()
            if each.folder is not None:
                images_by_prompt(each.folder, plan.prompts.prompts, plan.per_prompt)
        for group in groups:
            group.fetch()
        manifest = _manifest(plan, sides)
        batch = gallery_folder.batch_in(plan.out, manifest, plan.replace) or _batch(plan, sides)
        replaced = gallery_folder.claim(plan.out, manifest | {"batch": batch}, plan.replace)
        hashes = gallery_folder.known_hashes(plan.out)
        gallery_folder.sweep(plan.out, plan.sides)
    state.wait_for_everyone()
    with state.main_process_first():  # the first process fetches and copies; the others find what it left
        files = {name: _files(plan, name, each) for name, each in sides.items()}
    for name, each in sides.items():
        if each.load is not None:
            _generate(plan, name, each, progress, state, team)  # in batches that the main process chose
    state.wait_for_everyone()
    images = _images(plan, files, hashes)
    scores = score_images([image.file for image in images], groups, progress, ScoreCache(plan.cache), team)
    gallery = Gallery(plan, images, scores, replaced, tuple(_notes(plan, sides)))
    if state.is_main_process:
        _write(gallery)
    return gallery, state.is_main_process


def _notes(plan: GalleryPlan, sides: Mapping[str, Side]) -> Iterator[str]:
    """Yield a sentence for each folder whose images have no prompts of their own, and on how models read prompts."""
    for each in sides.values():
        if each.by_order:
            yield (
                f"The images in {each.folder} have no prompts of their own, so the order of their names gives them the "
                "prompts in the order of the file of prompts."
            )
    if plan.given != ():
        yield from used_notes(plan.options, sides.values())
    readers = {each.name: (each.reader, each.encoding) for each in sides.values() if each.reader is not None}
    texts = [*plan.prompts.prompts, plan.sampler.negative]
    found = (sentence for reader, way in readers.values() for sentence in prompt_notes(texts, way, reader))
    yield from dict.fromkeys(found)
    if len({way for _, way in readers.values()}) > 1:
        named = ", ".join(f"{name}: {way.in_words}" for name, (_, way) in readers.items())
        yield f"The models read the prompts in different ways ({named}), so this difference is compared too."


def _manifest(plan: GalleryPlan, sides: Mapping[str, Side]) -> dict[str, Any]:
    """Return all that decides the images but for their batch, and where they came from."""
    prompts = plan.prompts
    return {
        "sides": {name: _entry(each) for name, each in sides.items()},
        "base": plan.base,
        "prompts": {
            "name": prompts.name,
            "count": len(prompts.prompts),
            "of": prompts.whole,
            "sha256": prompts.sha256,
        },
        "source": prompts.source,
        "seeds": {"first": plan.first_seed, "per_prompt": plan.per_prompt},
        "sampler": json.loads(json.dumps(_sampler_facts(plan.sampler))),  # as it is read back
    }


def _entry(side: Side) -> dict[str, Any]:
    """Return what decides the images of a side; the usual way of reading prompts is not named, as in earlier duels."""
    entry = {key: getattr(side, key) for key in ("name", "kind", "fingerprint", "prompt_prefix")}
    return entry if side.encoding.is_usual else entry | {"prompt_encoding": asdict(side.encoding)}


def _sampler_facts(sampler: Sampler) -> dict[str, Any]:
    """Return the options of generating; of no negative prompt and of images nothing, as before there were others."""
    usual = (("negative", ""), ("frames", 1))
    return {name: value for name, value in asdict(sampler).items() if (name, value) not in usual}


def _files(plan: GalleryPlan, name: str, each: Side) -> list[list[Path]]:
    """Return the files of a side's images by prompt. The images of a folder are copied: a gallery is whole."""
    grid = plan.grid()
    numbers = range(len(plan.prompts.prompts))
    if each.folder is None:
        return [[grid.path(name, p, seed) for seed in grid.seeds(p)] for p in numbers]
    files = []
    for p, originals in enumerate(images_by_prompt(each.folder, plan.prompts.prompts, plan.per_prompt)):
        copies = [grid.path(name, p, seed) for seed in grid.seeds(p)]
        copies = [copy.with_suffix(file.suffix.lower()) for copy, file in zip(copies, originals, strict=True)]
        for copy, original in zip(copies, originals, strict=True):
            if not copy.exists():
                write_whole(copy, lambda partial, original=original: shutil.copyfile(original, partial))
        files.append(copies)
    return files


def _generate(plan: GalleryPlan, name: str, each: Side, progress: Progress, state: Any, team: Team) -> None:
    """Generate a side's missing images. Its model is loaded only if there are any."""
    grid = plan.grid()
    if not grid.is_whole(name):
        batch = gallery_folder.batch_of(plan.out)
        with ExitStack() as held:
            model = waiting(
                progress, f"Loading the model ({name})", lambda: held.enter_context(loaded(each, state.device))
            )
            generate_side(grid, name, model.generate, progress, batch, (team.index, team.count))


def _batch(plan: GalleryPlan, sides: Mapping[str, Side]) -> int:
    """Return how many images are drawn together, of every side: as many as the free memory holds of each one."""
    asked = {(each.reader, each.loaded_with, each.prompt_prefix): each for each in sides.values()}
    return min(_most_at_once(plan, each) for each in asked.values())


def _most_at_once(plan: GalleryPlan, each: Side) -> int:
    """Return how many images of a side fit into the free memory at once, at most `BATCH`; of clips one."""
    if plan.sampler.frames > 1:
        return 1
    if each.reader is None:
        return BATCH
    prompts = [prefixed(prompt, each.prompt_prefix) for prompt in plan.prompts.prompts]
    prompts.append(plan.sampler.negative)
    half = build.HALF.get(plan.precision)
    return at_once(each.reader, half, plan.sampler.size, BATCH, each.loaded_with, prompts)


def _images(
    plan: GalleryPlan, files: Mapping[str, Sequence[Sequence[Path]]], hashes: Mapping[Path, str]
) -> list[GalleryImage]:
    """Return all images with their hashes, of which some are known, side by side and prompt by prompt."""
    grid = plan.grid()
    return [
        GalleryImage(name, p, seed, PromptedImage(path, hashes.get(path) or file_sha256(path), prompt))
        for name in plan.sides
        for p, prompt in enumerate(plan.prompts.prompts)
        for seed, path in zip(grid.seeds(p), files[name][p], strict=True)
    ]


def _write(gallery: Gallery) -> None:
    """Write the lists of images and of scores."""
    styles = gallery.plan.prompts.styles
    images = [
        (
            *(image.side, image.prompt, image.seed, gallery.name(image), image.file.sha256, image.file.prompt),
            styles[image.prompt] if styles else "",
        )
        for image in gallery.images
    ]
    scores = [
        (each.id, image.side, image.prompt, image.seed, "" if value is None else repr(value))
        for each in gallery.scores
        for image, value in zip(gallery.images, each.values, strict=True)
    ]
    gallery_folder.write_sealed_lists(gallery.plan.out, images, scores)
