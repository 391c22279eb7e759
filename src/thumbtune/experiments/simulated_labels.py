"""Simulated people and their labels, and the pools of generated images that they rate.

The trainings of a seed share one pool. A smaller pool is the beginning of a larger one.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.tastes import get_taste
from thumbtune.experiments import demo
from thumbtune.experiments.demo import PEOPLE, LabelledImage
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.store import Store
from thumbtune.files import write_png, write_text
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import PipelineModel, Sampler
from thumbtune.runs import build
from thumbtune.runs.bundled_words import MODEL
from thumbtune.training.progress import Progress
from thumbtune.training.sampling import seeded_generator

# far from the seeds of any demo and of any evaluation image (demo.FIRST_SEED), so that no image is generated twice
FIRST_SEED, SEEDS_PER_POOL, SEEDS_PER_CONCEPT = 10_000_000, 100_000, 2_000
IMAGES_AT_ONCE = 32
NEIGHBOURS = 2  # each image is compared with the next two and the two before: four comparisons
Preferred = Callable[[int, int], bool | None]  # of two images: is the first preferred? None for a draw
RULES = ("person", "upper half", "top tenth", "win", "win + intermediate", "without intermediate")
TOP = 0.9  # of a pool: the paper's Figure 7 likes what an aesthetic score puts on top


@dataclass(frozen=True)
class PoolImage:
    """An image of a pool."""

    file: Path
    prompt: str
    seed: int

    def image(self) -> Image.Image:
        """Return the image itself."""
        with Image.open(self.file) as opened:
            return opened.convert("RGB")


@dataclass(frozen=True, kw_only=True)
class Rating:
    """How a simulated person labels a pool.

    rule:    person: as in the demo; upper half: like images that score at least the pool's median; top tenth: like
             images that score above its 90th percentile; five stars: the person of a ground gives one to five stars,
             and four or five are a like. The other rules compare images of a prompt in pairs, as in the paper's data:
             win likes images that never lost; win + intermediate likes images that won at least once (the paper's
             choice); without intermediate is win without the images that both won and lost
    count:   the number of labels; None: all
    flipped: the share of labels that are turned into their opposite
    """

    rule: str = "person"
    count: int | None = None
    flipped: float = 0.0

    @property
    def name(self) -> str:
        """Return the name for a folder."""
        count = "all" if self.count is None else self.count
        return f"{self.rule.replace(' + ', '-').replace(' ', '-')}-{count}-flipped-{self.flipped:g}"


def generate_pool(
    folder: Path, seed: int, concepts: int, per_prompt: int, sampler: Sampler, progress: Progress
) -> list[PoolImage]:
    """Return the first images of every concept, in rounds over the concepts; generate those that are missing."""
    wanted = [
        PoolImage(
            folder / f"{number:02d}-{k:04d}.png",
            demo.prompt_of(concept),
            FIRST_SEED + SEEDS_PER_POOL * seed + SEEDS_PER_CONCEPT * number + k,
        )
        for k in range(per_prompt)
        for number, concept in enumerate(demo.concepts()["rated"][:concepts])
    ]
    generate_missing(wanted, lambda: StableDiffusion(load_pipeline(build.model_path(MODEL))), sampler, progress)
    return wanted


def generate_missing(
    wanted: Sequence[PoolImage],
    model_of: Callable[[], StableDiffusion | PipelineModel],
    sampler: Sampler,
    progress: Progress,
) -> None:
    """Generate and write the images whose files are missing; the model is loaded only for these."""
    missing = [image for image in wanted if not image.file.exists()]
    if missing:
        model = model_of()
        for start in progress(range(0, len(missing), IMAGES_AT_ONCE), "Generating images to rate"):
            part = missing[start : start + IMAGES_AT_ONCE]
            images = model.generate([wish.prompt for wish in part], [wish.seed for wish in part], sampler)
            for wish, image in zip(part, images, strict=True):
                write_png(wish.file, image)


def rate_pool(pool: Sequence[PoolImage], person: str, rating: Rating, seed: int) -> list[LabelledImage]:
    """Return the person's labels on a pool, in its order.

    Raises:
        UsageError: the rule is unknown, or the pool gives fewer labels than `count`.
    """
    check_rule(rating.rule)
    if rating.rule == "person":
        labelled = [
            label for one in pool for label in PEOPLE[person].rate(one.file.name, one.image(), one.prompt, one.seed)
        ]
    else:
        labelled = with_labels(pool, labels_by_score(pool, person, rating.rule))
    return chosen_labels(labelled, rating, seed)


def check_rule(rule: str, rules: Sequence[str] = RULES) -> None:
    """Refuse a rating rule that is not one of `rules`.

    Raises:
        UsageError: the rule is unknown; the sentence lists all.
    """
    if rule not in rules:
        raise UsageError(
            f"There is no rating rule {rule!r}; give one of {', '.join(rules)}.", code="rating-unknown-rule"
        )


def with_labels(pool: Sequence[PoolImage], labels: Sequence[bool | None]) -> list[LabelledImage]:
    """Return the images that have a label, in their order."""
    return [
        (one.file.name, one.image(), one.prompt, liked, one.seed)
        for one, liked in zip(pool, labels, strict=True)
        if liked is not None
    ]


def chosen_labels(labelled: Sequence[LabelledImage], rating: Rating, seed: int) -> list[LabelledImage]:
    """Return the first `count` labels, with the share `flipped` of them turned into their opposite.

    Raises:
        UsageError: there are fewer labels than `count`.
    """
    if rating.count is not None and len(labelled) < rating.count:
        raise UsageError(
            f"The pool gives {len(labelled)} labels, but {rating.count} are needed; generate more images.",
            code="rating-too-few-images",
        )
    return flip_labels(labelled[: rating.count], rating.flipped, seed)


def labels_by_score(pool: Sequence[PoolImage], person: str, rule: str) -> Sequence[bool | None]:
    """Return each image's label, by its score among the others; None: the image is left out."""
    scores = [get_taste(person).score(one.image()) for one in pool]
    if rule == "upper half":
        return upper_half(scores)
    if rule == "top tenth":
        return top_tenth(scores)
    return labels_by_comparison([one.prompt for one in pool], better_score(scores), rule)


def upper_half(scores: Sequence[float]) -> list[bool]:
    """Return whether each score is at least the median."""
    middle = sorted(scores)[len(scores) // 2]
    return [score >= middle for score in scores]


def top_tenth(scores: Sequence[float]) -> list[bool]:
    """Return whether each score is above the 90th percentile, which lies between two scores as numpy's does.

    >>> top_tenth([float(i) for i in range(11)]).index(True)
    10
    """
    least = float(np.quantile(scores, TOP))
    return [score > least for score in scores]


def better_score(scores: Sequence[float]) -> Preferred:
    """Return the comparison of two images by their scores."""
    return lambda a, b: None if scores[a] == scores[b] else scores[a] > scores[b]


def labels_by_comparison(prompts: Sequence[str], preferred: Preferred, rule: str) -> list[bool | None]:
    """Return the label of each image by its comparisons with others of its prompt; None: the image is left out."""
    by_prompt: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(index)
    labels: list[bool | None] = [None] * len(prompts)
    for members in by_prompt.values():
        for index, (won, lost) in zip(members, wins_and_losses(members, preferred), strict=True):
            labels[index] = label_of_record(won, lost, rule)
    return labels


def wins_and_losses(members: Sequence[int], preferred: Preferred) -> list[tuple[int, int]]:
    """Return (won, lost) of each image against its neighbours in a circle; a draw counts for neither.

    >>> wins_and_losses([0, 1, 2], better_score([0.1, 0.9, 0.5]))
    [(0, 2), (2, 0), (1, 1)]
    """
    count = len(members)
    compared = {tuple(sorted((i, (i + step) % count))) for i in range(count) for step in range(1, NEIGHBOURS + 1)}
    won, lost = [0] * count, [0] * count
    for a, b in compared:
        is_first = preferred(members[a], members[b])
        if is_first is not None:
            better, worse = (a, b) if is_first else (b, a)
            won[better] += 1
            lost[worse] += 1
    return list(zip(won, lost, strict=True))


def label_of_record(won: int, lost: int, rule: str) -> bool | None:
    """Return the label for these wins and losses, or None for an image without either."""
    if not won and not lost:
        return None
    if rule == "win + intermediate":
        return won > 0
    if rule == "without intermediate" and won and lost:
        return None
    return not lost


def flip_labels(labels: Sequence[LabelledImage], share: float, seed: int) -> list[LabelledImage]:
    """Return the labels with a share of them flipped; the seed decides which, and a larger share contains a smaller."""
    order = torch.randperm(len(labels), generator=seeded_generator(seed, "turned")).tolist()
    wrong = set(order[: round(share * len(labels))])
    return [
        (name, image, prompt, liked != (i in wrong), number)
        for i, (name, image, prompt, liked, number) in enumerate(labels)
    ]


def import_labels(
    folder: Path,
    labels: Sequence[LabelledImage],
    person: str,
    grades: Mapping[str, float] | None = None,
    store: Path | None = None,
) -> tuple[int, int]:
    """Write labels as a folder that any importer reads, import it, and return the store's likes and dislikes.

    grades: file name -> how much the person likes the image, 0 to 1; None or no entry: the label alone
    store:  to import into; None: `folder`/store
    """
    lines = _lines(folder / "thumbs", labels, person, grades or {})
    write_text(folder / "thumbs" / "metadata.jsonl", "".join(lines))
    with Store.open(store or folder / "store") as opened:
        import_likes(folder / "thumbs", opened)
        counts = opened.counts()
    return counts.likes, counts.dislikes


def _lines(folder: Path, labels: Sequence[LabelledImage], person: str, grades: Mapping[str, float]) -> Iterator[str]:
    for name, image, prompt, liked, seed in labels:
        write_png(folder / name, image)
        row = {"file_name": name, "prompt": prompt, "label": liked, "rater": f"simulated:{person}"}
        row |= {"grade": grades[name]} if name in grades else {}
        yield json.dumps(row | {"seed": seed, "model": MODEL}) + "\n"
