"""Score many images with many scorers: one backbone at a time, in batches, with a cache.

An interrupted run resumes with the same batches, and a batch is cached completely or not at all, so resumed scores
equal uninterrupted scores bit for bit. Several processes share the batches, and all of them receive all scores.

The score of a clip, a WebP file with frames, is the mean over the middle frames of four equal parts of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image

from thumbtune.clips import evenly_spaced, own_frames, places_in
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.scorers.function_scorers import PLUGIN_PREPROCESSING
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.resolve import ScorerGroup
from thumbtune.evaluation.scorers.score_cache import Key, ScoreCache
from thumbtune.images import rgb
from thumbtune.memory import ran_out
from thumbtune.training.progress import Progress, in_images, waiting

BATCH_SIZE = 8
SCORED_FRAMES = 4


@dataclass(frozen=True)
class PromptedImage:
    """An image to be scored: its file, the hash of the file, and its prompt."""

    path: Path
    sha256: str
    prompt: str

    @cached_property
    def is_clip(self) -> bool:
        """Whether it is a WebP file with frames; of files of other kinds the first frame counts."""
        if self.path.suffix.lower() != ".webp":
            return False
        try:
            with Image.open(self.path) as file:
                return len(places_in(file)) > 1
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return False


@dataclass(frozen=True)
class ImageScores:
    """One scorer's scores of all images, in their order; None if scoring failed, with the reason by index."""

    id: str
    revision: str
    preprocessing: str
    values: list[float | None]
    failed: dict[int, str]


@dataclass(frozen=True)
class Team:
    """The processes that share the scoring: those of Accelerate, or one."""

    index: int = 0
    count: int = 1

    def gather(self, rows: list[Any]) -> list[Any]:
        """Return the rows of all processes, concatenated."""
        if self.count == 1:
            return rows
        from accelerate.utils import gather_object

        return gather_object(rows)


def score_images(
    images: Sequence[PromptedImage],
    groups: Sequence[ScorerGroup],
    progress: Progress,
    cache: ScoreCache | None = None,
    team: Team | None = None,
) -> list[ImageScores]:
    """Return the scores of all images by each scorer.

    Raises:
        ThumbtuneError: a scorer cannot be loaded, or fails on every image.
    """
    cache, team = cache or ScoreCache(None), team or Team()
    scores = []
    for group in groups:
        with ExitStack() as held:
            scorers = waiting(progress, "Loading the scorers", partial(held.enter_context, group.load()))
            scores += _score_by_group(images, scorers, progress, cache, team)
    return scores


def _score_by_group(
    images: Sequence[PromptedImage], scorers: Sequence[Scorer], progress: Progress, cache: ScoreCache, team: Team
) -> list[ImageScores]:
    """Run each batch through all scorers of a backbone, which then embeds every image once."""
    batches = [range(start, min(start + BATCH_SIZE, len(images))) for start in range(0, len(images), BATCH_SIZE)]
    names = ", ".join(scorer.id for scorer in scorers)
    results: list[tuple[int, int, float | None, str]] = []  # scorer, image, score, reason of failure
    for batch in progress(in_images(batches[team.index :: team.count]), f"Scoring by {names}"):
        prompted = [images[i] for i in batch]
        opened: list[Image.Image | str] = []  # opened for the first scorer that needs them and shared with the others
        for number, scorer in enumerate(scorers):
            keys = [_key(image, scorer) for image in prompted]
            cached = cache.get(keys) if scorer.preprocessing != PLUGIN_PREPROCESSING else {}
            if len(cached) < len(set(keys)):
                opened = opened or [_open_or_reason(image) for image in prompted]
                fresh = list(_score_batch(scorer, opened, prompted))
                new = {key: value for key, (value, _) in zip(keys, fresh, strict=True) if value is not None}
                if scorer.preprocessing != PLUGIN_PREPROCESSING:  # a user's function may depend on anything else
                    cache.put({key: value for key, value in new.items() if key not in cached})
                known = new | cached
                results += [
                    (number, i, known.get(key), failure)
                    for i, key, (_, failure) in zip(batch, keys, fresh, strict=True)
                ]
            else:
                results += [(number, i, cached[key], "") for i, key in zip(batch, keys, strict=True)]
    gathered = team.gather(results)
    per_scorer = ([row[1:] for row in gathered if row[0] == number] for number in range(len(scorers)))
    return [_collect(scorer, len(images), rows) for scorer, rows in zip(scorers, per_scorer, strict=True)]


def _collect(scorer: Scorer, count: int, rows: Sequence[tuple[int, float | None, str]]) -> ImageScores:
    values: dict[int, float | None] = {i: value for i, value, _ in rows}
    failed = {i: failure for i, value, failure in sorted(rows, key=lambda row: row[0]) if value is None}
    if failed and len(failed) == count:
        first = failed[min(failed)]
        raise ThumbtuneError(
            f"{scorer.id} failed on all {count} images, first with: {first}.", code="scorer-failed-on-all"
        )
    return ImageScores(scorer.id, scorer.revision, scorer.preprocessing, [values[i] for i in range(count)], failed)


def _score_batch(
    scorer: Scorer, opened: Sequence[Image.Image | str], prompted: Sequence[PromptedImage]
) -> Iterator[tuple[float | None, str]]:
    """Yield a score or the reason of failure for each; `opened` holds a reason for an image that cannot be read."""
    readable = [(image, row) for image, row in zip(opened, prompted, strict=True) if not isinstance(image, str)]
    results = (
        _score_readable(scorer, [image for image, _ in readable], [row for _, row in readable])
        if readable
        else iter(())
    )
    for image in opened:
        yield (None, image) if isinstance(image, str) else next(results)


def _score_readable(
    scorer: Scorer, opened: Sequence[Image.Image], prompted: Sequence[PromptedImage]
) -> Iterator[tuple[float | None, str]]:
    """Yield the same for images that can be read; if the batch fails, each image is scored separately."""
    try:
        yield from map(_check_finite, _scores(scorer, opened, prompted))
        return
    except Exception as error:  # a user's function may raise anything; one image must not fail the others
        if ran_out(error) or isinstance(error, UsageError):  # these concern all images
            raise
    for image, row in zip(opened, prompted, strict=True):
        try:
            yield _check_finite(_scores(scorer, [image], [row])[0])
        except Exception as error:
            if ran_out(error):
                raise
            yield None, _failure(error)


def _scores(scorer: Scorer, opened: Sequence[Image.Image], prompted: Sequence[PromptedImage]) -> list[float]:
    """Return the score of each image, and of each clip the mean of its frames' scores."""
    frames = [evenly_spaced(image, SCORED_FRAMES) for image in opened]
    prompts = [row.prompt for row, those in zip(prompted, frames, strict=True) for _ in those]
    scores = iter(scorer.score([one for those in frames for one in those], prompts).tolist())
    return [fmean(next(scores) for _ in those) if len(those) > 1 else next(scores) for those in frames]


def _failure(error: Exception) -> str:
    """Return why an image has no score, without the full stop; errors of others with their type."""
    text = " ".join(str(error).split())[:160].rstrip(".")
    return text if isinstance(error, ThumbtuneError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _check_finite(value: float) -> tuple[float | None, str]:
    return (value, "") if abs(value) < float("inf") else (None, f"its score is {value}")


def _open_or_reason(image: PromptedImage) -> Image.Image | str:
    """Return the image, or a reason without its path, which is shown beside it."""
    try:
        return open_image(image)
    except ThumbtuneError:
        return "it cannot be read as an image; replace it"


def open_image(image: PromptedImage) -> Image.Image:
    """Return the image as RGB, or the clip.

    Raises:
        ThumbtuneError: it cannot be read.
    """
    try:
        if image.is_clip:
            return own_frames(image.path)
        with Image.open(image.path) as file:
            return rgb(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ThumbtuneError(
            f"{image.path} cannot be read as an image ({error}); replace it.", code="image-unreadable"
        ) from error


def _key(image: PromptedImage, scorer: Scorer) -> Key:
    frames = f"|{SCORED_FRAMES} frames" if image.is_clip else ""
    return image.sha256, image.prompt, f"{scorer.id}|{scorer.revision}|{scorer.preprocessing}{frames}"
