"""Tastes: each simulated person likes what its sentence says, on drawn images and on real emoji sets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.tastes import TASTES, get_taste, line_art, red, redden
from thumbtune.evaluation.statistics import auc

SETS = Path(__file__).parents[3] / "build" / "sets"
COLOURED = ("cartoon", "classic", "flat", "soft-3d")


def drawn(fill: str | None, outline: str, page: str = "white") -> Image.Image:
    """A house of 64 x 64: a filled square with a roof line."""
    image = Image.new("RGB", (64, 64), page)
    pen = ImageDraw.Draw(image)
    pen.rectangle((14, 26, 50, 56), fill=fill, outline=outline, width=3)
    pen.line((8, 28, 32, 8, 56, 28), fill=outline, width=3)
    return image


def test_line_art_prefers_ink_to_colour_and_grey() -> None:
    ink, colour, grey = drawn(None, "black"), drawn("#e0483e", "#7a1f1a"), drawn("#808080", "#606060")
    assert line_art(ink) > 0.9
    assert line_art(colour) < 0.1
    assert line_art(grey) < 0.6
    assert line_art(drawn("black", "black")) > 0.9


@pytest.mark.parametrize("page", ["white", "black", "#808080", "#ff0000", "#f5f5f5"])
def test_line_art_gives_nothing_for_a_single_colour(page: str) -> None:
    assert line_art(Image.new("RGB", (64, 64), page)) == 0


def test_line_art_is_not_pleased_by_a_dot() -> None:
    dot = Image.new("RGB", (64, 64), "white")
    dot.putpixel((10, 10), (0, 0, 0))
    assert line_art(dot) < 0.02


def test_line_art_of_a_grey_photo_is_low() -> None:
    noise = np.random.default_rng(0).integers(60, 200, size=(64, 64, 1), dtype=np.uint8).repeat(3, 2)
    assert line_art(Image.fromarray(noise)) < 0.1


def test_redness_by_hand() -> None:
    """Pure red: 1 - 1/3. White and grey: 0. Cyan: 0 - 2/3."""
    for colour, expected in (("#ff0000", 2 / 3), ("white", 0.0), ("#777777", 0.0), ("#00ffff", -2 / 3)):
        assert red(Image.new("RGB", (8, 8), colour)) == pytest.approx(expected)


def test_redden_makes_images_redder_and_keeps_the_drawing() -> None:
    image = drawn("#3e7be0", "black")
    scores = [red(redden(image, amount)) for amount in (0.0, 0.2, 0.4, 0.7, 1.0)]
    assert scores == sorted(scores)
    assert scores[2] > scores[0] + 0.15
    assert np.array_equal(np.asarray(redden(image, 0.0)), np.asarray(image))
    tinted = np.asarray(redden(image, 0.4).convert("L"), dtype=float)
    assert np.corrcoef(tinted.ravel(), np.asarray(image.convert("L"), dtype=float).ravel())[0, 1] > 0.9


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_redden_refuses_amounts_outside_0_and_1(amount: float) -> None:
    with refused("taste-amount", UsageError, naming=[amount, "between 0 and 1"]):
        redden(drawn(None, "black"), amount)


def test_transparency_counts_as_white_page() -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert line_art(clear) == 0
    assert red(clear) == 0


def test_tastes_are_named_and_described() -> None:
    assert set(TASTES) == {"line-art", "red"}
    for name, person in TASTES.items():
        assert get_taste(name) is person
        assert person.name == name
        assert person.sentence.endswith(".")


def test_an_unknown_taste_names_the_known_ones() -> None:
    with refused("taste-unknown", UsageError, naming=["'blue'", "line-art, red"]):
        get_taste("blue")


@pytest.mark.skipif(not SETS.exists(), reason="the emoji sets are built by base_model and not shipped")
def test_line_art_separates_the_styles_of_real_images() -> None:
    def scores(style: str) -> list[float]:
        return [line_art(Image.fromarray(image)) for image in np.load(SETS / f"{style}.npy")[::5]]

    ink = scores("line-art")
    for style in COLOURED:
        other = scores(style)
        assert auc(ink + other, [True] * len(ink) + [False] * len(other)) > 0.99, style
