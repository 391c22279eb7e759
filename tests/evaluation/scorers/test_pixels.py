"""Pixels against the processor of `transformers`, against a resampling written out by hand, and against kept values."""

import numpy as np
import pytest
import torch
from PIL import Image

from thumbtune.evaluation.scorers.pixels import MEAN, SIZE, STD, clip_pixels, hps_pixels

SIZES = [(512, 512), (768, 512), (512, 768), (1000, 334), (640, 426), (224, 224), (100, 80), (64, 64), (225, 224)]


def noisy_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise over a slope: neither smooth nor the same on any two sides."""
    noise = np.random.default_rng(seed).integers(0, 96, (height, width, 3))
    slope = np.linspace(0, 159, width)[None, :, None] * np.array([1, 0.5, 0.2])
    return Image.fromarray((noise + slope).astype(np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_clip_pixels_are_those_of_the_processor_that_came_with_clip(size: tuple[int, int]) -> None:
    from transformers import CLIPImageProcessorPil

    image = noisy_image(*size)
    processor = CLIPImageProcessorPil()
    expected = processor(images=image, return_tensors="pt")["pixel_values"]
    assert (clip_pixels([image]) - expected).abs().max() < 1e-6


def bicubic_by_hand(size: int, new: int) -> np.ndarray:
    """[new, size] weights of Keys' cubic (a = -1/2), as wide as a new pixel where that is wider than an old one."""
    scale = size / new
    wide = max(scale, 1.0)
    weights = np.zeros((new, size))
    for i in range(new):
        centre = (i + 0.5) * scale
        for j in range(max(0, int(centre - 2 * wide + 0.5)), min(size, int(centre + 2 * wide + 0.5))):
            x = abs((j + 0.5 - centre) / wide)
            if x < 1:
                weights[i, j] = 1.5 * x**3 - 2.5 * x**2 + 1
            elif x < 2:
                weights[i, j] = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        weights[i] /= weights[i].sum()
    return weights


@pytest.mark.parametrize("size", [(512, 512), (300, 200), (120, 333), (100, 80)])
def test_hps_pixels_are_the_whole_image_with_black_borders(size: tuple[int, int]) -> None:
    image = noisy_image(*size)
    width, height = (round(side * SIZE / max(size)) for side in size)
    pixels = np.asarray(image) / 255
    small = np.einsum(
        "ih,hwc,jw->ijc", bicubic_by_hand(size[1], height), pixels, bicubic_by_hand(size[0], width), optimize=True
    )
    square = np.zeros((SIZE, SIZE, 3))
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    square[top : top + height, left : left + width] = small
    expected = (square - np.array(MEAN)) / np.array(STD)
    assert np.abs(hps_pixels([image])[0].permute(1, 2, 0).numpy() - expected).max() < 2e-5


def test_a_square_image_of_the_right_size_is_only_normalised() -> None:
    image = Image.new("RGB", (SIZE, SIZE), (255, 0, 51))
    expected = [(value - mean) / std for value, mean, std in zip((1.0, 0.0, 0.2), MEAN, STD, strict=True)]
    for pixels in (clip_pixels([image]), hps_pixels([image])):
        assert pixels.shape == (1, 3, SIZE, SIZE)
        assert pixels[0, :, 100, 100].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_wide_image_loses_its_sides_in_one_and_none_of_it_in_the_other() -> None:
    image = Image.new("RGB", (900, 300), "white")
    image.paste("red", (0, 0, 300, 300))  # the left third
    white = torch.tensor([(1 - m) / s for m, s in zip(MEAN, STD, strict=True)])
    black = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)])
    # the middle third is left: all but the last columns, which the blur of the edge reaches, are white
    assert torch.allclose(clip_pixels([image])[0, :, :, 10:].amin((1, 2)), white, atol=0.02)
    whole = hps_pixels([image])[0]
    assert torch.allclose(whole[:, 10, 100], black) and torch.allclose(whole[:, 213, 100], black)
    assert whole[1, 112, 20] < 0 < whole[0, 112, 20] and torch.allclose(whole[:, 112, 200], white, atol=0.02)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
@pytest.mark.parametrize("pixels", [clip_pixels, hps_pixels])
def test_images_of_any_mode_have_three_channels(mode: str, pixels) -> None:
    image = Image.new("I;16", (40, 30), 30000) if mode == "I;16" else noisy_image(40, 30).convert(mode)
    found = pixels([image, noisy_image(30, 40)])
    assert found.shape == (2, 3, SIZE, SIZE) and found.isfinite().all()


def test_values_have_not_changed() -> None:
    """Kept from the day on which both transforms equalled those above; a score depends on every rounding."""
    image = noisy_image(300, 200, seed=1)
    for pixels, kept in ((clip_pixels, CLIP_KEPT), (hps_pixels, HPS_KEPT)):
        assert pixels([image])[0, :, ::75, ::75].flatten().tolist() == pytest.approx(kept, abs=2e-3)


CLIP_KEPT: list[float] = [
    -0.1572,
    -0.1718,
    0.8209,
    -0.7266,
    -0.1572,
    0.8063,
    -0.2594,
    0.3099,
    0.2077,
    -1.527,
    -1.2869,
    0.274,
    -0.2063,
    -0.2363,
    -0.3114,
    -0.5515,
    -0.7766,
    -0.0862,
    -0.7408,
    -1.2669,
    -1.21,
    -0.8545,
    -0.3426,
    -0.0867,
    -0.172,
    -0.6128,
    -0.3426,
]
HPS_KEPT: list[float] = [
    -1.7923,
    -1.7923,
    -1.7923,
    -0.7005,
    -0.634,
    0.9695,
    -1.1626,
    -0.2487,
    0.8052,
    -1.7521,
    -1.7521,
    -1.7521,
    -1.0806,
    -0.6866,
    -0.5202,
    -1.0725,
    -0.8529,
    -0.3366,
    -1.4802,
    -1.4802,
    -1.4802,
    -1.0321,
    -0.6393,
    -0.6404,
    -0.8543,
    -0.6421,
    -0.9241,
]
