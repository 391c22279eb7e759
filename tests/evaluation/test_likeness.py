"""How little the images of two models differ: by hand, and the sentence that tells it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thumbtune.evaluation.likeness import MAX_PAIRS, SEEN, change, median_change, sentence_of
from thumbtune.evaluation.scorers.scoring import PromptedImage
from thumbtune.files import file_sha256


def image(value: int, size: int = 4) -> Image.Image:
    return Image.new("RGB", (size, size), (value, value, value))


def stored(file: Path, picture: Image.Image) -> PromptedImage:
    picture.save(file)
    return PromptedImage(file, file_sha256(file), "a cat")


def test_a_change_is_the_mean_over_pixels_and_channels() -> None:
    assert change(image(10), image(10)) == 0
    assert change(image(10), image(250)) == change(image(250), image(10)) == 240, "no byte overflows"
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0, 0] = (0, 48, 96)  # 144 over 48 numbers
    assert change(image(0), Image.fromarray(pixels)) == 3
    with pytest.raises(ValueError, match="differ in size"):
        change(image(0), image(0, 8))


def test_the_median_counts_and_what_cannot_be_compared_does_not(tmp_path: Path) -> None:
    before = stored(tmp_path / "before.png", image(100))
    after = [stored(tmp_path / f"{value}.png", image(value)) for value in (101, 99, 250)]
    pairs = [(before, one) for one in after]
    assert median_change(pairs) == 1, "of 1, 1 and 150"
    (tmp_path / "broken.png").write_bytes(b"no image")
    broken = PromptedImage(tmp_path / "broken.png", "0", "a cat")
    large = stored(tmp_path / "large.png", image(0, 8))
    assert median_change([*pairs, (before, broken), (before, large)]) == 1
    assert median_change([(before, broken)]) is None and median_change([]) is None


def test_many_pairs_are_looked_at_in_part_and_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def look(picture: PromptedImage) -> Image.Image:
        opened.append(picture.prompt)
        return image(0)

    monkeypatch.setattr("thumbtune.evaluation.likeness.open_image", look)
    pairs = [(PromptedImage(tmp_path, "", str(n)), PromptedImage(tmp_path, "", str(n))) for n in range(1000)]
    assert median_change(pairs) == 0
    assert len(opened) == 2 * MAX_PAIRS and {"0", "999"} <= set(opened)


@pytest.mark.parametrize(("median", "tells"), [(0.0, True), (SEEN - 0.01, True), (SEEN, False), (40.0, False)])
def test_only_images_that_look_the_same_are_told(median: float, tells: bool) -> None:
    sentence = sentence_of(median, "base", "runs/a")
    assert (sentence is not None) == tells
    assert sentence is None or ("runs/a hardly differ from those of base" in sentence and "train.steps" in sentence)


def test_nothing_is_told_of_images_that_nobody_compared() -> None:
    assert sentence_of(None, "base", "runs/a") is None
