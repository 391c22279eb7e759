"""Buckets: the lists that people know, no image enlarged, and at most a twentieth of it cut off."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from thumbtune.models.buckets import MAX_CUT, Placement, bucket_of, placed, sizes_at
from thumbtune.models.latent_diffusion import pixels_of

# Podell et al., arXiv 2307.01952, appendix I: the heights of SDXL's training, each with its widths
SDXL = {
    512: (2048, 1984, 1920, 1856),
    576: (1792, 1728, 1664),
    640: (1600, 1536),
    704: (1472, 1408, 1344),
    768: (1344, 1280),
    832: (1216, 1152),
    896: (1152, 1088),
    960: (1088, 1024),
    1024: (1024,),
}


def sd_scripts(size: int) -> set[tuple[int, int]]:
    """make_bucket_resolutions of sd-scripts with the sides that it allows for this size, short side first."""
    found, least, most = {(size, size)}, size // 2, 2 * size
    for width in range(least, most + 1, 64):
        height = min(most, (size * size // width) // 64 * 64)
        if height >= least:
            found.add((min(width, height), max(width, height)))
    return found


def test_the_list_at_1024_px_is_that_of_sdxl() -> None:
    assert set(sizes_at(64, 1024 * 1024)) == {(short, long) for short, all_ in SDXL.items() for long in all_}


@pytest.mark.parametrize("size", [512, 768, 1024])
def test_the_list_holds_that_of_sd_scripts(size: int) -> None:
    ours = set(sizes_at(64, size * size))
    assert sd_scripts(size) <= ours
    assert size != 512 or ours == sd_scripts(size)


@pytest.mark.parametrize(
    ("image", "size", "bucket"),
    [
        ((512, 512), 512, (512, 512)),
        ((3000, 3000), 1024, (1024, 1024)),
        ((1024, 768), 512, (576, 448)),  # 4:3, as ImageOps: 9:7 loses 3.6 %
        ((768, 1024), 512, (448, 576)),
        ((1080, 1920), 1024, (768, 1344)),
        ((1920, 1080), 1024, (1344, 768)),
        ((1000, 4000), 1024, (512, 2048)),
        ((4000, 1000), 512, (1024, 256)),
        ((1000, 9000), 512, (256, 1024)),  # beyond 4:1
        ((720, 2080), 512, (288, 832)),  # 26:9, where the list for 64 px would cut off 10 %
        ((1040, 1030), 520, (520, 520)),  # the model's own size is a bucket, whatever the steps
        ((600, 600), 520, (520, 520)),
    ],
)
def test_large_images_get_known_buckets(image: tuple[int, int], size: int, bucket: tuple[int, int]) -> None:
    assert bucket_of(image, (size, size)) == bucket


@pytest.mark.parametrize(
    ("image", "bucket"),
    [
        ((511, 511), (496, 496)),
        ((500, 500), (480, 480)),
        ((448, 448), (448, 448)),
        ((300, 600), (288, 576)),
        ((160, 640), (160, 640)),
        ((256, 256), (256, 256)),
        ((255, 255), (256, 256)),  # too small: enlarged to a quarter of the area
        ((1, 1), (256, 256)),
        ((10, 40), (128, 512)),
        ((1, 5000), (128, 512)),
    ],
)
def test_small_images_get_buckets_of_their_own_area(image: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert bucket_of(image, (512, 512)) == bucket
    assert placed(image, bucket).is_enlarged == (image[0] * image[1] < 256 * 256 and image != (160, 640))


def test_a_model_that_is_not_square_keeps_its_own_size() -> None:
    own = (384, 640)
    assert bucket_of((384, 640), own) == bucket_of((768, 1280), own) == own
    assert bucket_of((2000, 2000), own) == (480, 480)
    assert bucket_of((1280, 768), own) == (640, 384)


sides = st.integers(32, 160).map(lambda units: 8 * units)
aspects = st.floats(-math.log(4), math.log(4)).map(math.exp)


@given(size=sides, aspect=aspects, more=st.floats(1, 40))
def test_no_large_image_loses_more_than_a_twentieth(size: int, aspect: float, more: float) -> None:
    height = math.ceil(size * math.sqrt(more / aspect)) + 1
    width = math.ceil(height * aspect)
    if not height <= 4 * width <= 16 * height:
        return
    bucket = bucket_of((height, width), (size, size))
    found = placed((height, width), bucket)
    assert found.cut <= MAX_CUT and not found.is_enlarged and not found.is_cut
    assert bucket[0] * bucket[1] <= size * size and bucket[0] % 8 == bucket[1] % 8 == 0
    assert bucket[0] * bucket[1] >= 0.75 * size * size
    assert (size // 2) // 64 * 64 <= min(bucket) and max(bucket) <= math.ceil(2 * size / 64) * 64


@given(size=sides, aspect=aspects, less=st.floats(0.251, 1))
def test_no_small_image_is_enlarged(size: int, aspect: float, less: float) -> None:
    height = math.ceil(size * math.sqrt(less / aspect))
    width = math.ceil(height * aspect)
    if not height <= 4 * width <= 16 * height or height * width < size * size / 4:
        return
    bucket = bucket_of((height, width), (size, size))
    found = placed((height, width), bucket)
    assert not found.is_enlarged and bucket[0] * bucket[1] <= size * size
    assert bucket[0] * bucket[1] >= 0.6 * min(height * width, size * size)
    assert found.cut <= (MAX_CUT if size >= 512 else 0.1)  # with few steps to a side there are few shapes


@example(height=160, width=640, size=312)  # 19:20 of it: exactly 5 % would be cut off
@given(height=st.integers(1, 3000), width=st.integers(1, 3000), size=sides)
def test_every_image_gets_a_bucket_and_both_ways_the_same(height: int, width: int, size: int) -> None:
    bucket = bucket_of((height, width), (size, size))
    assert bucket_of((width, height), (size, size)) == bucket[::-1]
    assert bucket[0] % 8 == bucket[1] % 8 == 0 and 0 < bucket[0] * bucket[1] <= size * size
    assert max(bucket) <= 4.6 * min(bucket)
    if height == width >= size:
        assert bucket == (size, size)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_small_models_have_smaller_steps(factor: int) -> None:
    size = 32 * factor
    for image in ((size, 4 * size), (3 * size, size), (size, int(1.37 * size)), (2 * size, size + 1)):
        bucket = bucket_of(image, (size, size), factor)
        assert placed(image, bucket).cut <= MAX_CUT and bucket[0] % factor == bucket[1] % factor == 0


def test_the_crop_is_in_the_middle_and_counted() -> None:
    assert placed((1000, 2000), (500, 500)) == Placement((500, 500), 0.5, (0, 250), 0.5)
    assert placed((100, 100), (200, 200)) == Placement((200, 200), 2.0, (0, 0), 0.0)
    assert placed((300, 100), (200, 100)).corner == (50, 0)


@pytest.mark.parametrize("size", [512, 768, 1024])
def test_the_table_of_the_documentation_is_true(size: int) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sizes.md").read_text()
    rows = re.findall(r"^\| (\d+)(:| x )(\d+)[^|]*\| (.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 6
    for wide, sign, high, cells in rows:
        times = 1 if sign == " x " else 1200  # pixels, or an aspect
        image = int(high) * times, int(wide) * times
        bucket = bucket_of(image, (size, size))
        shown = f"{bucket[1]}x{bucket[0]}" + (", enlarged" if placed(image, bucket).is_enlarged else "")
        assert cells.split(" | ")[(512, 768, 1024).index(size)] == shown


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("image", "bucket", "box"),
    [
        ((200, 800), (64, 256), (0, 0, 800, 200)),  # 4:1, as its bucket: nothing is cut off
        ((800, 200), (256, 64), (0, 0, 200, 800)),
        ((288, 380), (112, 144), (190 - 288 * 9 / 14, 0, 190 + 288 * 9 / 14, 288)),  # its middle 9:7
    ],
)
def test_the_pixels_are_those_of_a_resize_and_a_crop_by_hand(
    image: tuple[int, int], bucket: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    picture = noise(*image)
    assert bucket_of(image, (128, 128), 8) == bucket
    by_hand = picture.resize((bucket[1], bucket[0]), Image.Resampling.LANCZOS, box=box)
    pixels = pixels_of(picture, bucket)
    assert torch.equal(pixels, torch.from_numpy(np.array(by_hand)).permute(2, 0, 1).float() / 127.5 - 1)
