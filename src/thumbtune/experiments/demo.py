"""The demo: the bundled model, a simulated person's labels, and then the commands that any user runs.

    generate images at low guidance -> the person's labels, as a folder with metadata.jsonl -> import -> train
    -> evaluate -> report

The person is simulated, and every page says so. They rate half of the concepts; the verdict is on the other half.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from thumbtune.duels.evaluate import Evaluation, evaluate
from thumbtune.errors import UsageError, plural
from thumbtune.evaluation.gates import line_of
from thumbtune.evaluation.scorers.style_classifier import SMALL, StyleClassifier
from thumbtune.evaluation.scorers.tastes import TASTES, redden
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.store import Store
from thumbtune.files import write_png, write_text
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.report.page import write_page
from thumbtune.runs import build, run, tuning
from thumbtune.runs.bundled_words import MODEL
from thumbtune.runs.recipe import Recipe, parse_recipe, with_settings
from thumbtune.training.progress import Progress, Sized, in_images, waiting

# low guidance keeps the variety that a person needs to choose from, and images at 2 still show their prompt; results
# are shown at the recipe's guidance
POOL = Sampler(steps=25, guidance=2.0)
# the bundled model's, also for any other model of this size: the defaults of its family suit large ones
GUIDANCE, STEPS = 3.0, 25
PER_PROMPT = 8
LEAST_INK = 0.7  # the least black ink of any real line-art image of the sets, rounded down
REDNESS_ADDED = 0.4  # the strength of the reddened copies

SOFT_3D, SOFT_3D_TASTE = "soft 3d", "style-soft-3d"  # a style, and the scorer by which a person is judged

LabelledImage = tuple[str, Image.Image, str, bool, int]  # file name, image, prompt, liked, seed
Say = Callable[[str], None]


def likes_line_art(name: str, image: Image.Image, prompt: str, seed: int) -> Iterator[LabelledImage]:
    """Like black ink on white, dislike everything else."""
    yield name, image, prompt, TASTES["line-art"].score(image) >= LEAST_INK, seed


def likes_red(name: str, image: Image.Image, prompt: str, seed: int) -> Iterator[LabelledImage]:
    """Like a reddened copy, dislike the original: the paper's Figure 7."""
    yield f"red-{name}", redden(image, REDNESS_ADDED), prompt, True, seed
    yield name, image, prompt, False, seed


@cache
def style_classifier() -> StyleClassifier:
    """Return the bundled style networks, loaded once."""
    return StyleClassifier(build.BUNDLED / "style")


def likes_soft_3d(name: str, image: Image.Image, prompt: str, seed: int) -> Iterator[LabelledImage]:
    """Like what the small style network names soft 3d, dislike everything else."""
    yield name, image, prompt, style_classifier().log_odds([image], SOFT_3D, SMALL).item() > 0, seed


@dataclass(frozen=True)
class Person:
    """A simulated person: a sentence about them, how they rate an image, and the recipe that suits their likes."""

    sentence: str
    rate: Callable[[str, Image.Image, str, int], Iterator[LabelledImage]]
    settings: tuple[str, ...]


# The settings were chosen by hand on demos of seeds below 20, on the prompts that every demo is evaluated on; later
# seeds measure them (benchmarks/demo.py). Reddened images are far from any that the model generates: a small rank
# and a reference point of zero keep the objects whole.
PEOPLE = {
    "line-art": Person(
        f"it likes an image if its ink is black (a score of {LEAST_INK} or more, of 1), and dislikes any other.",
        likes_line_art,
        ("train.lr=5e-4", "train.steps=50", "train.cooldown=20"),
    ),
    "red": Person(
        "it likes a reddened copy of every image, and dislikes the original image, as in the paper's Fig. 7.",
        likes_red,
        (
            "objective.reference_point=zero",
            "objective.beta=80",
            "lora.rank=4",
            "lora.alpha=4",
            "train.lr=3e-4",
            "train.prompt_dropout=0",
            "train.steps=125",
            "train.cooldown=60",
        ),
    ),
    SOFT_3D_TASTE: Person(
        "it likes an image that the small style network names soft 3d, and dislikes any other; the large network, "
        "which gave no label, judges.",
        likes_soft_3d,
        (
            "objective.beta=250",
            "train.timestep_bias=3",
            "train.liked_share=0.5",
            "train.lr=1e-3",
            "train.steps=140",
            "train.cooldown=20",
        ),
    ),
}
# the pool and the evaluation of a demo share no seed, nor do those of two demos with seeds below 1000
FIRST_SEED, SEEDS_PER_DEMO = 1_000_000, 1000


def get_person(taste: str) -> Person:
    """Return the person of a taste.

    Raises:
        UsageError: there is no such person; the sentence lists all.
    """
    if taste not in PEOPLE:
        raise UsageError(f"There is no taste {taste!r}; use {', '.join(sorted(PEOPLE))}.", code="demo-no-taste")
    return PEOPLE[taste]


def concepts() -> dict[str, list[str]]:
    """Return the concepts that the bundled model knows: `rated` by the demo's people, and `unrated`."""
    return json.loads((build.BUNDLED / "concepts.json").read_text())


def prompt_of(concept: str) -> str:
    """Return the demo's prompt for a concept: "a red apple"."""
    return f"{'an' if concept[0] in 'aeiou' else 'a'} {concept}"


def recipe_of(folder: Path, name: str, seed: int, settings: list[str] | None = None) -> Recipe:
    """Return the demo's recipe: the settings of the taste, with this folder's likes and prompts."""
    data = {
        "model": MODEL,
        "likes": str(folder / "likes"),
        "seed": seed,
        "train": {"gradient_checkpointing": False},
        "evaluate": {
            "steps": STEPS,
            "guidance": GUIDANCE,
            "prompts": str(folder / "prompts.txt"),
            "scorers": [name],
            "faithfulness": "faithfulness",
            "first_seed": FIRST_SEED + SEEDS_PER_DEMO * seed,
        },
    }
    chosen = with_settings(data, [*PEOPLE[name].settings, *(settings or [])])
    return parse_recipe(chosen, "The demo's recipe")


def generate_pool(folder: Path, seed: int, progress: Progress, base: str = MODEL) -> list[tuple[str, str, int]]:
    """Return (file name, prompt, seed) of the images that the person rates; generate those that are missing.

    base: the model, a bundled one or a folder
    """
    wanted = [
        (
            f"{number:02d}-{concept.replace(' ', '-')}-{k}.png",
            prompt_of(concept),
            seed * SEEDS_PER_DEMO + number * PER_PROMPT + k,
        )
        for number, concept in enumerate(concepts()["rated"])
        for k in range(PER_PROMPT)
    ]
    missing = [item for item in wanted if not (folder / item[0]).exists()]
    if missing:
        model = waiting(progress, "Loading the model", lambda: adapter_of(load_pipeline(build.model_path(base))))
        parts = in_images([missing[start : start + 32] for start in range(0, len(missing), 32)])
        for part in progress(parts, "Generating images to rate"):
            images = model.generate([p for _, p, _ in part], [s for *_, s in part], POOL)
            for (name, _, _), image in zip(part, images, strict=True):
                write_png(folder / name, image)
    return wanted


def rate(folder: Path, name: str, pool: list[tuple[str, str, int]], model: str = MODEL) -> None:
    """Write the person's labels as a folder that any importer reads."""
    lines = []
    for file, prompt, seed in pool:
        with Image.open(folder / "pool" / file) as opened:
            original = opened.convert("RGB")
        for file_name, image, text, liked, number in PEOPLE[name].rate(file, original, prompt, seed):
            write_png(folder / "thumbs" / file_name, image)
            row = {"file_name": file_name, "prompt": text, "label": liked, "rater": f"simulated:{name}"}
            lines.append(json.dumps(row | {"seed": number, "model": model}))
    write_text(folder / "thumbs" / "metadata.jsonl", "\n".join(lines) + "\n")


def demo(folder: Path, name: str, seed: int, progress: Progress, say: Say, settings: list[str] | None = None) -> Path:
    """Run the demo in `folder`, continuing where an earlier call stopped; return the path of the report.

    Raises:
        UsageError: the taste is unknown.
        ThumbtuneError: a step failed; the folder can be used again.
    """
    person = get_person(name)
    recipe = recipe_of(folder, name, seed, settings)
    out = folder / "run"
    run.check(recipe, out, resume=True)
    say(f"1/5  {recipe.model} generates {PER_PROMPT} images for each of {len(concepts()['rated'])} prompts.")
    pool = generate_pool(folder / "pool", seed, progress, recipe.model)
    say(f"2/5  A simulated person labels them: {person.sentence}")
    rate(folder, name, pool, recipe.model)
    with Store.open(folder / "likes") as store:
        report = import_likes(folder / "thumbs", store, progress=lambda rows: progress(list(rows), "Importing labels"))
        counts = store.counts()
    say(
        f"     {plural(counts.likes, 'like')} and {plural(counts.dislikes, 'dislike')} "
        f"({report.duplicates} were stored already)."
    )
    write_text(folder / "prompts.txt", "\n".join(prompt_of(c) for c in concepts()["unrated"]) + "\n")
    say(f"3/5  Diffusion-KTO tunes a LoRA: {recipe.train.steps} steps of {recipe.train.batch} images.")
    story = {"source": "the demo's folder of labels", "simulated": person.sentence}
    steps = Sized(
        tuning.tune(recipe, out, progress, resume=True, story=story), recipe.train.steps, place=lambda step: step.step
    )
    for step in progress(steps, "Tuning"):
        if step.step % 35 == 0:
            say(f"     {tuning.line_of(step)}")
    say(f"4/5  Thumbtune evaluates the tuned model on {len(concepts()['unrated'])} prompts without labels.")
    verdict = evaluate(Evaluation(run=out), recipe, progress)
    if verdict is not None:
        say(f"5/5  {verdict['sentence']}")
        for gate in verdict["gates"]:
            say(f"     {line_of(gate)}")
    return write_page(out)
