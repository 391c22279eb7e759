"""The next round: a run generates images, which come into the store without a vote; people judge, and train again.

    thumbtune round runs/first                     images for the prompts of the store, each with a seed of its own
    thumbtune studio                               judge them
    thumbtune train ... --start runs/first         training goes on from the LoRA of the run

What is to be generated is written down first (`round.json`), so that the same command goes on after a stop. Unlike
`runs/rounds.py`, where one training takes new labels half-way, each of these rounds is a training of its own.
"""

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy import func, select

from thumbtune.documents import DocumentFault, read_json
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Uncertainty
from thumbtune.files import write_text
from thumbtune.models.protocol import Sampler
from thumbtune.runs import run
from thumbtune.runs.generate import Generator, generate_images
from thumbtune.runs.to_store import source_of, stored
from thumbtune.training.progress import Progress

Pair = tuple[str, int]  # a prompt and a seed
PLAN = "round.json"
OF_EVALUATION = 100_000  # seeds from evaluate.first_seed on, which no judged image may have


@dataclass(frozen=True)
class RoundPlan:
    """What a round generates: of a run, these prompts and seeds."""

    run: str
    pairs: list[Pair]

    @property
    def prompts(self) -> list[str]:
        """Return the prompts, each once."""
        return list(dict.fromkeys(prompt for prompt, _ in self.pairs))


def pairs_of(prompts: Iterable[str], per_prompt: int, used: Container[int], kept: range = range(0)) -> list[Pair]:
    """Return each prompt with as many seeds, all of them different: the smallest that are neither used nor kept free.

    >>> pairs_of(["a fox", "a hen", "a fox"], 2, used={0, 3}, kept=range(4, 9))
    [('a fox', 1), ('a fox', 2), ('a hen', 9), ('a hen', 10)]
    """
    seeds = (seed for seed in count() if seed not in used and seed not in kept)
    return [(prompt, next(seeds)) for prompt in dict.fromkeys(prompts) for _ in range(per_prompt)]


def plan_round(
    folder: Path, store: Store, fresh: Sequence[str] = (), per_prompt: int = 4, limit: int | None = None
) -> RoundPlan:
    """Return what the next round of a finished run generates.

    Args:
        fresh: prompts that come before those of the store.
        limit: the most prompts; of the store, those come first of whose images the run before was least certain.

    Raises:
        ThumbtuneError: the run has not finished training, or there is no prompt.
    """
    recipe = run.recipe_in(folder)
    run.finished_result(folder, recipe)
    prompts = list(dict.fromkeys([*(" ".join(prompt.split()) for prompt in fresh), *_prompts(store)]))[:limit]
    if not prompts:
        raise UsageError(
            f"{store.name} has no prompts; name a file with a prompt a line as --prompts.", code="round-no-prompt"
        )
    first = recipe.evaluate.first_seed
    return RoundPlan(str(folder), pairs_of(prompts, per_prompt, _seeds(store), range(first, first + OF_EVALUATION)))


def kept_plan(out: Path, plan: RoundPlan) -> RoundPlan:
    """Return the plan of a round that began in a folder, or else keep this one there.

    Raises:
        UsageError: the folder has the round of another run.
        ThumbtuneError: its plan cannot be read.
    """
    file = out / PLAN
    if not file.exists():
        text = json.dumps({"run": plan.run, "images": [[*pair] for pair in plan.pairs]}, indent=1, ensure_ascii=False)
        write_text(file, text, durable=True)
        return plan
    try:
        found = read_json(file)
        begun = RoundPlan(str(found["run"]), [(str(prompt), int(seed)) for prompt, seed in found["images"]])
    except (OSError, DocumentFault, KeyError, TypeError, ValueError) as error:
        raise ThumbtuneError(
            f"{file} cannot be read; name another folder with --out.", code="round-bad-plan"
        ) from error
    if begun.run != plan.run:
        raise UsageError(f"{out} has a round of {begun.run}; name another folder with --out.", code="round-other-run")
    return begun


def generate_round(plan: RoundPlan, store: Store, out: Path, sampler: Sampler, progress: Progress) -> Iterator[Path]:
    """Generate the images of a round that the store lacks, put each one there without a vote, and yield its file.

    Raises:
        ThumbtuneError: the disk is full, or the database fails; images before are stored.
    """
    there = _made(store, source_of(out.resolve().name))
    left = [pair for pair in plan.pairs if pair not in there]
    if not left:
        return
    paths = generate_images(left, sampler, out, progress, Generator(tuned=Path(plan.run)))
    yield from stored(((prompt, path) for (prompt, _), path in zip(left, paths, strict=True)), store)


def _prompts(store: Store) -> list[str]:
    """Return the prompts of a store: those of uncertain images first, then in the order of their first image."""
    certain = func.avg(Uncertainty.value)
    rows = (
        select(StoredImage.prompt)
        .outerjoin(Uncertainty, Uncertainty.picture_id == StoredImage.id)
        .group_by(StoredImage.prompt)
        .order_by(certain.is_(None), certain, func.min(StoredImage.id))
    )
    with store.reading() as session:
        return list(session.scalars(rows))


def _seeds(store: Store) -> set[int]:
    with store.reading() as session:
        return {seed for seed in session.scalars(select(StoredImage.seed).distinct()) if seed is not None}


def _made(store: Store, source: str) -> set[tuple[str, int | None]]:
    rows = select(StoredImage.prompt, StoredImage.seed).where(StoredImage.source == source)
    with store.reading() as session:
        return {(prompt, seed) for prompt, seed in session.execute(rows)}
