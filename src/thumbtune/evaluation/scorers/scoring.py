"""Score many images by many scorers: one backbone at a time, in batches, from the cache where it can.

Batches are the same however often the work is broken off, and one is remembered whole or not at all: scores that were
resumed equal scores that were not, to the last bit. Several processes share the batches, and all get all the scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.scorers.lineup import Group
from thumbtune.evaluation.scorers.plain import OWN
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.score_cache import Key, ScoreCache
from thumbtune.images import rgb
from thumbtune.training.batches import Progress

BATCH = 8


@dataclass(frozen=True)
class PromptedImage:
    """An image to be scored: its file, the hash of its bytes, what it should show."""

    path: Path
    sha256: str
    prompt: str


@dataclass(frozen=True)
class Scores:
    """What one scorer said of the images, in their order; None where it failed, with the reason by place."""

    id: str
    revision: str
    preprocessing: str
    values: list[float | None]
    failed: dict[int, str]


@dataclass(frozen=True)
class Team:
    """Processes that share the work: Accelerate's, or this one alone."""

    index: int = 0
    count: int = 1

    def gather(self, found: list[Any]) -> list[Any]:
        """The lists of all processes, one after another."""
        if self.count == 1:
            return found
        from accelerate.utils import gather_object

        return gather_object(found)


def score(
    images: Sequence[PromptedImage],
    groups: Sequence[Group],
    progress: Progress,
    cache: ScoreCache | None = None,
    team: Team | None = None,
) -> list[Scores]:
    """What each scorer says of each image.

    Raises:
        ThumbtuneError: a scorer cannot be loaded, or fails on every image.
    """
    cache, team = cache or ScoreCache(None), team or Team()
    found = []
    for group in groups:
        with group.ready() as scorers:
            found += _of_group(images, scorers, progress, cache, team)
    return found


def _of_group(
    images: Sequence[PromptedImage], scorers: Sequence[Scorer], progress: Progress, cache: ScoreCache, team: Team
) -> list[Scores]:
    """Batch by batch through all scorers of a backbone, which then looks at every image once."""
    batches = [range(start, min(start + BATCH, len(images))) for start in range(0, len(images), BATCH)]
    names = ", ".join(scorer.id for scorer in scorers)
    said: list[tuple[int, int, float | None, str]] = []  # scorer, image, score, or why none
    for batch in progress(batches[team.index :: team.count], f"Scoring by {names}"):
        asked = [images[i] for i in batch]
        loaded: list[Image.Image | str] = []  # opened when the first scorer needs them, and shared by the others
        for place, scorer in enumerate(scorers):
            keys = [_key(image, scorer) for image in asked]
            known = cache.get(keys) if scorer.preprocessing != OWN else {}
            if len(known) < len(set(keys)):
                loaded = loaded or [_opened(image) for image in asked]
                fresh = list(_of_batch(scorer, loaded, asked))
                new = {key: value for key, (value, _) in zip(keys, fresh, strict=True) if value is not None}
                if scorer.preprocessing != OWN:  # what else a user's file looks at, nobody knows
                    cache.put({key: value for key, value in new.items() if key not in known})
                known = new | known
                said += [(place, i, known.get(key), why) for i, key, (_, why) in zip(batch, keys, fresh, strict=True)]
            else:
                said += [(place, i, known[key], "") for i, key in zip(batch, keys, strict=True)]
    everything = team.gather(said)
    each = ([row[1:] for row in everything if row[0] == place] for place in range(len(scorers)))
    return [_scores(scorer, len(images), rows) for scorer, rows in zip(scorers, each, strict=True)]


def _scores(scorer: Scorer, count: int, said: Sequence[tuple[int, float | None, str]]) -> Scores:
    values: dict[int, float | None] = {i: value for i, value, _ in said}
    failed = {i: why for i, value, why in sorted(said, key=lambda row: row[0]) if value is None}
    if failed and len(failed) == count:
        first = failed[min(failed)]
        raise ThumbtuneError(f"{scorer.id} scored none of the {count} images ({first}).")
    return Scores(scorer.id, scorer.revision, scorer.preprocessing, [values[i] for i in range(count)], failed)


def _of_batch(
    scorer: Scorer, loaded: Sequence[Image.Image | str], asked: Sequence[PromptedImage]
) -> Iterator[tuple[float | None, str]]:
    """A score, or why there is none, for each; in the place of an image may stand why it cannot be read."""
    whole = [(one, image) for one, image in zip(loaded, asked, strict=True) if not isinstance(one, str)]
    said = _of_whole(scorer, [one for one, _ in whole], [image for _, image in whole]) if whole else iter(())
    for one in loaded:
        yield (None, one) if isinstance(one, str) else next(said)


def _of_whole(
    scorer: Scorer, loaded: Sequence[Image.Image], asked: Sequence[PromptedImage]
) -> Iterator[tuple[float | None, str]]:
    """The same of images that were read; where the batch fails, each is tried on its own."""
    try:
        yield from map(_finite, scorer.score(loaded, [image.prompt for image in asked]).tolist())
        return
    except Exception as error:  # a user's function may raise anything; one image must not take the others along
        if _is_of_the_machine(error) or isinstance(error, UsageError):  # of all images together, and not of one
            raise
    for one, image in zip(loaded, asked, strict=True):
        try:
            yield _finite(scorer.score([one], [image.prompt]).tolist()[0])
        except Exception as error:
            if _is_of_the_machine(error):
                raise
            yield None, _reason(error)


def _reason(error: Exception) -> str:
    """Why an image has no score: our own words as they are, others with their kind; without the full stop."""
    text = " ".join(str(error).split())[:160].rstrip(".")
    return text if isinstance(error, ThumbtuneError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _is_of_the_machine(error: Exception) -> bool:
    """Whether it is memory that ran out, which no single image is to blame for."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError)


def _finite(value: float) -> tuple[float | None, str]:
    return (value, "") if abs(value) < float("inf") else (None, f"it gave {value}")


def _opened(image: PromptedImage) -> Image.Image | str:
    """The image, or why there is none; its name stands beside that anyway."""
    try:
        return opened(image)
    except ThumbtuneError:
        return "it cannot be read as an image; replace it"


def opened(image: PromptedImage) -> Image.Image:
    """The image as RGB.

    Raises:
        ThumbtuneError: it cannot be read.
    """
    try:
        with Image.open(image.path) as file:
            return rgb(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ThumbtuneError(f"{image.path} cannot be read as an image ({error}); replace it.") from error


def _key(image: PromptedImage, scorer: Scorer) -> Key:
    return image.sha256, image.prompt, f"{scorer.id}|{scorer.revision}|{scorer.preprocessing}"
