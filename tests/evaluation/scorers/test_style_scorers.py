"""Scores of styles: log-odds by one network of the bundled classifier, against softmax by hand."""

import math

import pytest
import torch
from PIL import Image

from thumbtune.evaluation.scorers.faithfulness import pixels
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.resolve import LoadOptions, resolve_scorers
from thumbtune.evaluation.scorers.style_classifier import LARGE, SMALL, STYLES, StyleClassifier, log_mean, log_odds_of
from thumbtune.evaluation.scorers.style_scorers import CLIP, STYLE_SCORERS
from thumbtune.runs import build

OPTIONS = LoadOptions(build.BUNDLED / "judge")


@pytest.fixture(scope="module")
def classifier() -> StyleClassifier:
    return StyleClassifier(build.BUNDLED / "style")


def images(count: int = 3) -> list[Image.Image]:
    """Return images that differ from their mirror images."""
    made = []
    for number in range(count):
        image = Image.new("RGB", (64, 64), "white")
        image.paste(("red", "black", "green")[number % 3], (4, 8 + 9 * number, 30, 60))
        made.append(image)
    return made


def test_log_odds_are_those_of_probabilities_by_hand() -> None:
    p = torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25], [0.9, 0.025, 0.025, 0.025, 0.025]])
    found = log_odds_of(p.log(), torch.tensor([2, 0]))
    assert found.tolist() == pytest.approx([math.log(0.3 / 0.7), math.log(9)], abs=1e-5)
    both = log_mean(torch.tensor([[0.2, 0.8]]).log(), torch.tensor([[0.6, 0.4]]).log())
    assert both.exp().tolist()[0] == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize(("network", "side"), [(LARGE, 128), (SMALL, 64)])
def test_log_odds_average_one_network_over_image_and_mirror_image(
    classifier: StyleClassifier, network: str, side: int
) -> None:
    one = classifier.by_name[network]
    assert one.config.image_size == side
    seen = pixels(images(), 64)
    with torch.no_grad():
        views = [torch.nn.functional.interpolate(view, size=side, mode="bilinear") for view in (seen, seen.flip(-1))]
        p = sum(one(pixel_values=view).logits.softmax(1) for view in views) / 2
    by_hand = torch.log(p[:, 2] / (1 - p[:, 2]))
    torch.testing.assert_close(classifier.log_odds(images(), "soft 3d", network), by_hand, atol=1e-3, rtol=1e-4)
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images()]
    torch.testing.assert_close(
        classifier.log_odds(mirrored, "soft 3d", network), classifier.log_odds(images(), "soft 3d", network)
    )


def test_each_image_may_have_a_style_of_its_own(classifier: StyleClassifier) -> None:
    mixed = classifier.log_odds(images(2), ["flat", "line art"])
    alone = [classifier.log_odds(images(2), style)[place] for place, style in enumerate(("flat", "line art"))]
    torch.testing.assert_close(mixed, torch.stack(alone))
    assert classifier.log_odds([], "flat").shape == (0,)


def test_log_odds_have_a_gradient_in_the_pixels(classifier: StyleClassifier) -> None:
    seen = pixels(images(1), 64).requires_grad_()
    before = classifier.log_odds_of_pixels(seen, "soft 3d", SMALL)
    before.sum().backward()
    assert seen.grad is not None and seen.grad.abs().sum() > 0
    step = 0.01 * seen.grad / seen.grad.norm()
    assert classifier.log_odds_of_pixels((seen + step).detach(), "soft 3d", SMALL) > before


def test_the_scorers_are_all_styles_by_both_networks_and_cut_off(classifier: StyleClassifier) -> None:
    assert tuple(classifier.styles) == STYLES and list(classifier.by_name) == [LARGE, SMALL]
    assert {"style-soft-3d", "style-soft-3d-small", "style-line-art"} < STYLE_SCORERS.keys() and len(
        STYLE_SCORERS
    ) == 10
    revisions = set()
    for name in ("style-line-art", "style-line-art-small"):
        (group,) = resolve_scorers([name], OPTIONS)
        with group.load() as (scorer,):
            assert isinstance(scorer, Scorer) and scorer.id == name
            raw = classifier.log_odds(images(), "line art", STYLE_SCORERS[name][1])
            assert scorer.score(images(), ["", "", ""]).tolist() == pytest.approx(raw.clamp(-6, 6).tolist())
            revisions.add(scorer.revision)
    assert len(revisions) == 2 and CLIP == 6
