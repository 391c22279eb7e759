"""Verify scorers against published scores: the same image, prompt and weights must give the same number.

    published image -> our preprocessing, our network, the published weights -> a score | the published score

Tests with random weights cannot show that the published weights are loaded correctly; this does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers.loading import load_scorers
from thumbtune.evaluation.scorers.published_files import Locations, PublishedFile, fetch
from thumbtune.evaluation.scorers.published_scorers import find_published_scorers
from thumbtune.images import rgb

IMAGE_REWARD_PROMPT = "a painting of an ocean with clouds and birds, day time, low depth field effect"


@dataclass(frozen=True)
class PublishedScore:
    """A published score. tolerance: largest accepted difference on another machine, in units of the score."""

    scorer: str
    image: PublishedFile
    prompt: str
    published: float
    tolerance: float


@dataclass(frozen=True)
class ScoreCheck:
    """A published score and the score computed here."""

    score: PublishedScore
    computed: float

    @property
    def difference(self) -> float:
        """Computed minus published score."""
        return self.computed - self.score.published

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance; false for NaN."""
        return abs(self.difference) <= self.score.tolerance


def _on_github(repo: str, path: str) -> PublishedFile:
    """Return an image in a GitHub repository, named by its path there, so that --weights may contain clones."""
    return PublishedFile(f"{repo.partition('/')[2]}/{path}", url=f"https://github.com/{repo}/raw/main/{path}")


# imagereward: from ImageReward's README. Tolerance 0.01, because decoders of WebP differ in the last bit of a pixel and
# the authors computed on a GPU in another type: "the exact numbers may be slightly different depending on the compute
# device".
# aesthetic-v2: from the tests of shunk031/simple-aesthetics-predictor, with their own tolerance of 0.1.
# That repository also states 5.0491 for aesthetic-v1, for a photograph of a cat that it does not contain; it has no
# lasting URL, so it is left out.
PUBLISHED_SCORES = (
    *(
        PublishedScore(
            "imagereward",
            _on_github("THUDM/ImageReward", f"assets/images/{number}.webp"),
            IMAGE_REWARD_PROMPT,
            reward,
            0.01,
        )
        for number, reward in enumerate(
            (0.5811622738838196, 0.2745276093482971, -1.4131819009780884, -2.029569625854492), start=1
        )
    ),
    PublishedScore(
        "aesthetic-v2",
        _on_github("shunk031/simple-aesthetics-predictor", "assets/a-photo-of-an-astronaut-riding-a-horse.png"),
        "",
        5.7546,
        0.1,
    ),
)


def select_published_scores(names: Sequence[str]) -> list[PublishedScore]:
    """Return the published scores of these scorers, or all published scores if no name is given."""
    return [score for score in PUBLISHED_SCORES if score.scorer in names or not names]


def check_scores(published: Sequence[PublishedScore], locations: Locations) -> Iterator[ScoreCheck]:
    """Yield each published score with the score computed in float32 on the CPU, one scorer in memory at a time.

    Raises:
        UsageError: a scorer is unknown.
        ThumbtuneError: an image or weights are missing or unreadable.
    """
    images = {score.image: _open_image(score.image, locations) for score in published}  # before gigabytes of weights
    for scorer in find_published_scorers(score.scorer for score in published):
        own = [score for score in published if score.scorer == scorer.name]
        with load_scorers([scorer], locations) as (loaded,):
            computed = loaded.score([images[score.image] for score in own], [score.prompt for score in own])
        yield from map(ScoreCheck, own, computed.tolist())


def _open_image(file: PublishedFile, locations: Locations) -> Image.Image:
    path = fetch(file, locations).path
    try:
        with Image.open(path) as image:
            return rgb(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ThumbtuneError(
            f"{path} cannot be read as an image ({error}); delete it and download it again.", code="image-unreadable"
        ) from error
