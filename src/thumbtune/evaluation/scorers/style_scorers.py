"""The scorers `style-STYLE` and `style-STYLE-small`: the log-odds of a style by one network of the bundled classifier.

score = log-odds of the style, cut off at -6 and 6        0: as likely as all other styles together

`style-soft-3d` is by the large network and `style-soft-3d-small` by the small one. The two were trained separately, so
a model that is tuned on labels of one of them can be judged by the other. They are for emoji images only.
"""

from collections.abc import Sequence
from pathlib import Path

from PIL.Image import Image
from torch import Tensor

from thumbtune.evaluation.scorers.function_scorers import REVISION_LENGTH, FunctionScorer
from thumbtune.evaluation.scorers.style_classifier import LARGE, SMALL, STYLES, StyleClassifier
from thumbtune.files import file_sha256

CLIP = 6.0  # a probability of 0.9975; beyond it the networks tell confidence, and no style


def style_scorer_name(style: str, network: str = LARGE) -> str:
    """Return the name of the scorer of a style and a network.

    >>> style_scorer_name("soft 3d"), style_scorer_name("soft 3d", "small")
    ('style-soft-3d', 'style-soft-3d-small')
    """
    return f"style-{style.replace(' ', '-')}" + ("" if network == LARGE else f"-{network}")


STYLE_SCORERS = {style_scorer_name(style, network): (style, network) for style in STYLES for network in (LARGE, SMALL)}


def style_scorer(name: str, folder: Path) -> FunctionScorer:
    """Return the scorer of a name in `STYLE_SCORERS`; `folder` holds the networks `large` and `small`."""
    style, network = STYLE_SCORERS[name]
    classifier = StyleClassifier(folder)

    def score(images: Sequence[Image], prompts: Sequence[str]) -> Tensor:
        return classifier.log_odds(images, style, network).clamp(-CLIP, CLIP)

    revision = file_sha256(folder / network / "model.safetensors")[:REVISION_LENGTH]
    return FunctionScorer(name, revision, score, "style/1")
