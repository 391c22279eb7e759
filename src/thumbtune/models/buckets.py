"""Buckets: the sizes in which images are trained, so that little of an image is cut off and nothing is enlarged.

area     a bucket has at most the area A of the model's size, such as 512 x 512
sides    multiples of a step, from half the side of that square to twice the side
list     for one step: every such size whose area is above 0.9 A, or whose short side has no room for one step more
choice   the bucket of the list for 64 px that cuts off least; if that is more than 5 %, of the list for 32 px, and so
         on down to the factor of the VAE
small    an image with fewer pixels than A has the buckets of its own area; below A / 4 it is enlarged to A / 4
long     an image beyond 1:4 or 4:1 is cut to that

With 64 px the list is that of SDXL at 1024 px (Podell et al., arXiv 2307.01952, appendix I), and that of sd-scripts at
512 px. Alone it would cut off up to 14 % of an image at 512 px. The 5 % hold for areas of at least 32 times the factor
of the VAE squared (256 x 256 px for Stable Diffusion): with fewer steps to a side there are too few shapes.

Sizes are (height, width) in pixels. An image is resized until it just covers its bucket, and cropped at its centre.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

Shape = tuple[int, int]

MAX_ASPECT = 4
MAX_CUT = 0.05  # of an image's area
STEP = 64
FULL = 0.9  # of an area
SMALLEST = 1 / 4  # of an area
STEPS_PER_SIDE = 8  # for models of less than 512 px, the first step is smaller than 64


@dataclass(frozen=True)
class Placement:
    """How an image gets into its bucket.

    bucket: the size in which it is trained
    scale:  what its sides are multiplied with; above 1 the image is enlarged
    corner: top and left of the crop, in the resized image
    cut:    the share of its area that is cropped
    """

    bucket: Shape
    scale: float
    corner: Shape
    cut: float

    @property
    def is_enlarged(self) -> bool:
        """Return whether the image has too few pixels for its bucket."""
        return self.scale > 1

    @property
    def is_cut(self) -> bool:
        """Return whether the image loses more than 5 % of its area."""
        return self.cut > MAX_CUT


def placed(image: Shape, bucket: Shape) -> Placement:
    """Return how an image gets into a bucket: resized until it covers it, and cropped at its centre.

    >>> placed((1000, 2000), (500, 500))
    Placement(bucket=(500, 500), scale=0.5, corner=(0, 250), cut=0.5)
    """
    scale = max(bucket[0] / image[0], bucket[1] / image[1])
    top, left = (max(0, round((side * scale - wanted) / 2)) for side, wanted in zip(image, bucket, strict=True))
    aspects = bucket[0] * image[1], bucket[1] * image[0]
    return Placement(bucket, scale, (top, left), 1 - min(aspects) / max(aspects))


@lru_cache(maxsize=65_536)  # a set of images has few sizes
def bucket_of(image: Shape, own: Shape, factor: int = 8) -> Shape:
    """Return the bucket of an image.

    >>> bucket_of((3000, 4000), (1024, 1024)), bucket_of((600, 600), (512, 512)), bucket_of((400, 1600), (512, 512))
    ((896, 1152), (512, 512), (256, 1024))
    >>> bucket_of((300, 400), (512, 512)), bucket_of((100, 100), (512, 512))
    ((288, 384), (256, 256))

    Args:
        image: its size.
        own: the size of the model's images, which is a bucket too.
        factor: pixels to a side of a latent's pixel.
    """
    shape = min(image[0], MAX_ASPECT * image[1]), min(image[1], MAX_ASPECT * image[0])
    area = own[0] * own[1]
    grown = max(1.0, math.sqrt(area * SMALLEST / (shape[0] * shape[1])))
    room = grown * shape[0], grown * shape[1]
    area = min(area, round(room[0] * room[1]))

    def fits(bucket: Shape) -> bool:
        return bucket[0] <= math.ceil(room[0]) and bucket[1] <= math.ceil(room[1])

    def best(buckets: list[Shape]) -> Shape:
        return min(buckets, key=lambda bucket: (placed(shape, bucket).cut, -bucket[0] * bucket[1]))

    found: list[Shape] = []
    for step in _steps(own, factor):
        found = [bucket for bucket in (*_upright(shape, step, area), own) if fits(bucket)]
        if found and placed(shape, best(found)).cut <= MAX_CUT:
            return best(found)
    floor = max(factor, int(room[0]) // factor * factor), max(factor, int(room[1]) // factor * factor)
    return best([*found, floor] if floor[0] * floor[1] <= area or not found else found)


def _steps(own: Shape, factor: int) -> Iterator[int]:
    """Yield the steps, from the largest: the factor times powers of two, at most 64 and an eighth of a side."""
    most = max(factor, min(STEP, int(math.sqrt(own[0] * own[1])) // STEPS_PER_SIDE))
    step = factor << (most // factor).bit_length() - 1
    while step >= factor:
        yield step
        step //= 2


def _upright(shape: Shape, step: int, area: int) -> list[Shape]:
    """Return the list for one step, as high or as wide as a shape."""
    return [(short, long) if shape[0] <= shape[1] else (long, short) for short, long in sizes_at(step, area)]


@lru_cache(maxsize=4096)
def sizes_at(step: int, area: int) -> tuple[Shape, ...]:
    """Return the list for one step as (short side, long side).

    >>> sizes_at(64, 512 * 512)[:5]
    ((512, 512), (448, 576), (384, 640), (320, 704), (320, 768))
    """
    side = math.sqrt(area)
    least, most = max(step, int(side / 2) // step * step), math.ceil(2 * side / step) * step
    found = []
    for long in range(max(step, int(side) // step * step), most + 1, step):
        short = min(long, area // long // step * step)
        while short >= least and (short * long > FULL * area or (short + step) * long > area):
            found.append((short, long))
            short -= step
    return tuple(found)
