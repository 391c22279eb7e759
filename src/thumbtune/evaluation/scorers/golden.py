"""Scores that others published, to be had again: the same image, prompt and weights must give the same number.

    published image -> our pixels, our network, the published weights -> a score | the published score

What a test with random weights cannot show, this does: that the weights are the right ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers.catalogue import entries
from thumbtune.evaluation.scorers.loading import loaded
from thumbtune.evaluation.scorers.published import File, Places, fetch
from thumbtune.images import rgb

REWARDED = "a painting of an ocean with clouds and birds, day time, low depth field effect"


@dataclass(frozen=True)
class Golden:
    """A published score. `within`: by how much another machine's may differ, in units of the score."""

    scorer: str
    image: File
    prompt: str
    published: float
    within: float


@dataclass(frozen=True)
class Checked:
    """A published score beside our own."""

    golden: Golden
    here: float

    @property
    def difference(self) -> float:
        """Ours less the published one."""
        return self.here - self.golden.published

    @property
    def agrees(self) -> bool:
        """Whether they are as near as they should be; NaN is near nothing."""
        return abs(self.difference) <= self.golden.within


def _at(repo: str, path: str) -> File:
    """An image in a repository on GitHub. Its name is its place, so that --weights may hold clones."""
    return File(f"{repo.partition('/')[2]}/{path}", url=f"https://github.com/{repo}/raw/main/{path}")


# Of ImageReward's README; 0.01, because decoders of WebP differ in the last bit of a pixel, and its authors computed
# on a GPU in a type of their own: "the exact numbers may be slightly different depending on the compute device".
# Of the tests of shunk031/simple-aesthetics-predictor, which themselves allow a tenth of it; 0.1 in units of the score.
# That repository has a value for aesthetic-v1 as well, 5.0491, of a photograph of a cat that it does not hold: there is
# no lasting address to fetch it from, so that it is left out.
GOLDEN = (
    *(
        Golden("imagereward", _at("THUDM/ImageReward", f"assets/images/{number}.webp"), REWARDED, reward, 0.01)
        for number, reward in enumerate(
            (0.5811622738838196, 0.2745276093482971, -1.4131819009780884, -2.029569625854492), start=1
        )
    ),
    Golden(
        "aesthetic-v2",
        _at("shunk031/simple-aesthetics-predictor", "assets/a-photo-of-an-astronaut-riding-a-horse.png"),
        "",
        5.7546,
        0.1,
    ),
)


def golden_of(names: Sequence[str]) -> list[Golden]:
    """The published scores of those scorers; all there are where none is named."""
    return [golden for golden in GOLDEN if golden.scorer in names or not names]


def check(asked: Sequence[Golden], places: Places) -> Iterator[Checked]:
    """Each score beside our own, in float32 on the CPU, one scorer in memory at a time.

    Raises:
        UsageError: there is no scorer of a name.
        ThumbtuneError: an image or weights are missing, or cannot be read.
    """
    images = {golden.image: _opened(golden.image, places) for golden in asked}  # before gigabytes of weights
    for entry in entries(golden.scorer for golden in asked):
        mine = [golden for golden in asked if golden.scorer == entry.name]
        with loaded([entry], places) as (scorer,):
            scores = scorer.score([images[golden.image] for golden in mine], [golden.prompt for golden in mine])
        yield from map(Checked, mine, scores.tolist())


def _opened(file: File, places: Places) -> Image.Image:
    path = fetch(file, places).path
    try:
        with Image.open(path) as image:
            return rgb(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ThumbtuneError(f"{path} cannot be read as an image ({error}); delete it and fetch it again.") from error
