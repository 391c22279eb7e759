"""The noisy rater: chances by hand, and answers that follow from seed and image alone."""

import io
import math

import pytest
from PIL import Image

from thumbtune.experiments.noisy_rater import CLIP, image_key, like_chance, likes, prefers, uniform, win_chance

KEYS = [f"image {number}" for number in range(4000)]


def test_chances_are_those_of_bradley_and_terry() -> None:
    assert like_chance(2.0, 2.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert like_chance(0.0, 0.5) == 0.5
    assert like_chance(40.0, 2.0) == like_chance(CLIP, 2.0) == pytest.approx(0.9241, abs=1e-4)
    assert (like_chance(0.01, None), like_chance(0.0, None), like_chance(-3.0, None)) == (1, 0, 0)
    assert win_chance(3.0, 1.0, 2.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert win_chance(3.0, 1.0, 2.0) + win_chance(1.0, 3.0, 2.0) == pytest.approx(1)
    assert (win_chance(3.0, 1.0, None), win_chance(1.0, 1.0, None), win_chance(0.0, 1.0, None)) == (1, 0.5, 0)


@pytest.mark.parametrize("log_odds", [-4.0, -1.0, 0.0, 2.5])
def test_the_share_of_likes_is_the_chance(log_odds: float) -> None:
    chance = like_chance(log_odds, 2.0)
    share = sum(likes(log_odds, 2.0, 7, key) for key in KEYS) / len(KEYS)
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / len(KEYS))


def test_the_share_of_preferences_is_the_chance_whichever_image_is_named_first() -> None:
    chance, pairs = win_chance(1.5, 0.0, 2.0), list(zip(KEYS[::2], KEYS[1::2], strict=True))
    answers = [prefers((1.5, 0.0), 2.0, 3, pair) for pair in pairs]
    assert answers == [not prefers((0.0, 1.5), 2.0, 3, (b, a)) for a, b in pairs]
    assert abs(sum(map(bool, answers)) / len(pairs) - chance) < 4 * math.sqrt(chance * (1 - chance) / len(pairs))
    assert prefers((1.0, 1.0), None, 0, ("a", "b")) is None
    assert prefers((1.0, 0.5), None, 0, ("b", "a")) is True


def test_an_answer_follows_from_the_seed_and_the_pixels() -> None:
    image = Image.new("RGB", (8, 8), "red")
    image.putpixel((1, 2), (0, 0, 255))
    written = io.BytesIO()
    image.save(written, "PNG")
    assert image_key(Image.open(written)) == image_key(image) != image_key(image.rotate(90))
    assert uniform(0, "a") == uniform(0, "a") and len({uniform(s, k) for s in range(3) for k in "abc"}) == 9
    assert 0 <= min(uniform(1, key) for key in KEYS) and max(uniform(1, key) for key in KEYS) < 1
