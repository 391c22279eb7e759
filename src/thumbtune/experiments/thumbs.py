"""What a simulated person has seen and said: pools of images, shared between the trainings of a seed, and thumbs.

A pool holds the same images whoever asks and however many are wanted: a smaller one is the beginning of a larger one.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.tastes import taste
from thumbtune.experiments import demo
from thumbtune.experiments.demo import PEOPLE, Thumb
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.store import Store
from thumbtune.files import write_png, write_text
from thumbtune.models.protocol import Sampler
from thumbtune.models.stable_diffusion import StableDiffusion, load_pipeline
from thumbtune.runs import build
from thumbtune.training.batches import Progress
from thumbtune.training.sampling import seeded_generator

# far from the seeds of any demo and of any judged image (demo.FIRST_SEED), so that none is ever drawn twice
FIRST_SEED, SEEDS_PER_POOL, SEEDS_PER_CONCEPT = 10_000_000, 100_000, 2_000
AT_ONCE = 32
ROUNDS = 2  # an image meets its next two neighbours, and is met by the two before: four comparisons
RULES = ("person", "upper half", "win", "win + intermediate", "without intermediate")


@dataclass(frozen=True)
class Drawn:
    """An image of a pool."""

    file: Path
    prompt: str
    seed: int

    def image(self) -> Image.Image:
        """The image itself."""
        with Image.open(self.file) as opened:
            return opened.convert("RGB")


@dataclass(frozen=True, kw_only=True)
class Thumbs:
    """How a simulated person rates.

    rule:    person: as in the demo; upper half: whatever scores above the pool's median. The others rate by comparing
             images of a prompt in pairs, as the paper's data were made: win likes what never lost, win + intermediate
             what won at least once (the paper's choice), without intermediate leaves out what did both
    count:   so many thumbs; None: all
    flipped: the share of thumbs that say the opposite
    """

    rule: str = "person"
    count: int | None = None
    flipped: float = 0.0

    @property
    def name(self) -> str:
        """As a folder is named."""
        count = "all" if self.count is None else self.count
        return f"{self.rule.replace(' + ', '-').replace(' ', '-')}-{count}-flipped-{self.flipped:g}"


def pool(folder: Path, seed: int, concepts: int, per_prompt: int, sampler: Sampler, progress: Progress) -> list[Drawn]:
    """The first images of every concept, in rounds over the concepts; those are drawn that are not there yet."""
    wanted = [
        Drawn(
            folder / f"{number:02d}-{k:04d}.png",
            demo.prompt_of(concept),
            FIRST_SEED + SEEDS_PER_POOL * seed + SEEDS_PER_CONCEPT * number + k,
        )
        for k in range(per_prompt)
        for number, concept in enumerate(demo.concepts()["rated"][:concepts])
    ]
    todo = [drawn for drawn in wanted if not drawn.file.exists()]
    if todo:
        model = StableDiffusion(load_pipeline(build.model_path(demo.MODEL)))
        for start in progress(range(0, len(todo), AT_ONCE), "Drawing images to rate"):
            part = todo[start : start + AT_ONCE]
            images = model.generate([drawn.prompt for drawn in part], [drawn.seed for drawn in part], sampler)
            for drawn, image in zip(part, images, strict=True):
                write_png(drawn.file, image)
    return wanted


def rated(drawn: Sequence[Drawn], person: str, thumbs: Thumbs, seed: int) -> list[Thumb]:
    """The person's thumbs on a pool, in its order.

    Raises:
        UsageError: an unknown rule, or fewer images than thumbs are wanted.
    """
    if thumbs.rule not in RULES:
        raise UsageError(f"There is no rule {thumbs.rule!r} of rating; known are {', '.join(RULES)}.")
    if thumbs.rule == "person":
        found = [t for d in drawn for t in PEOPLE[person].rate(d.file.name, d.image(), d.prompt, d.seed)]
    else:
        kept = zip(drawn, labels(drawn, person, thumbs.rule), strict=True)
        found = [(d.file.name, d.image(), d.prompt, liked, d.seed) for d, liked in kept if liked is not None]
    if thumbs.count is not None and len(found) < thumbs.count:
        raise UsageError(f"{thumbs.count} thumbs are wanted, and the pool gives {len(found)}; draw more images.")
    return turned(found[: thumbs.count], thumbs.flipped, seed)


def labels(drawn: Sequence[Drawn], person: str, rule: str) -> list[bool | None]:
    """A thumb for every image, by its score among the others; None: it is left out."""
    scores = [taste(person).score(d.image()) for d in drawn]
    if rule == "upper half":
        middle = sorted(scores)[len(scores) // 2]
        return [score >= middle for score in scores]
    places: dict[str, list[int]] = {}
    for place, d in enumerate(drawn):
        places.setdefault(d.prompt, []).append(place)
    found: list[bool | None] = [None] * len(drawn)
    for members in places.values():
        for place, (won, lost) in zip(members, record([scores[i] for i in members]), strict=True):
            found[place] = by_record(won, lost, rule)
    return found


def record(scores: Sequence[float]) -> list[tuple[int, int]]:
    """(won, lost) of each, against its next neighbours in a circle; equal scores are no decision.

    >>> record([0.1, 0.9, 0.5])
    [(0, 2), (2, 0), (1, 1)]
    """
    count = len(scores)
    met = {tuple(sorted((i, (i + step) % count))) for i in range(count) for step in range(1, ROUNDS + 1)}
    won, lost = [0] * count, [0] * count
    for a, b in met:
        if scores[a] != scores[b]:
            better, worse = (a, b) if scores[a] > scores[b] else (b, a)
            won[better] += 1
            lost[worse] += 1
    return list(zip(won, lost, strict=True))


def by_record(won: int, lost: int, rule: str) -> bool | None:
    """A thumb from wins and losses; what was never decided gets none."""
    if not won and not lost:
        return None
    if rule == "win + intermediate":
        return won > 0
    if rule == "without intermediate" and won and lost:
        return None
    return not lost


def turned(thumbs: Sequence[Thumb], share: float, seed: int) -> list[Thumb]:
    """The same with a share of the thumbs turned over; which ones follows from the seed, more shares turn more over."""
    order = torch.randperm(len(thumbs), generator=seeded_generator(seed, "turned")).tolist()
    wrong = set(order[: round(share * len(thumbs))])
    return [
        (name, image, prompt, liked != (i in wrong), number)
        for i, (name, image, prompt, liked, number) in enumerate(thumbs)
    ]


def likes_in(folder: Path, thumbs: Sequence[Thumb], person: str) -> tuple[int, int]:
    """Write thumbs as a folder that any importer reads, import them into `folder`/store, and count both kinds."""
    write_text(folder / "thumbs" / "metadata.jsonl", "".join(_lines(folder / "thumbs", thumbs, person)))
    with Store.open(folder / "store") as store:
        import_likes(folder / "thumbs", store)
        counts = store.counts()
    return counts.likes, counts.dislikes


def _lines(folder: Path, thumbs: Sequence[Thumb], person: str) -> Iterator[str]:
    for name, image, prompt, liked, seed in thumbs:
        write_png(folder / name, image)
        row = {"file_name": name, "prompt": prompt, "label": liked, "rater": f"simulated:{person}"}
        yield json.dumps(row | {"seed": seed, "model": demo.MODEL}) + "\n"
