"""How much of images from 1:4 to 4:1 is cut off: in buckets, in the list for 64 px alone, and in a centre square.

    python -m benchmarks.buckets

Aspects are spread evenly on a logarithmic scale; every image has at least the area of its bucket.
"""

import math
import random
from collections.abc import Sequence

from thumbtune.models.buckets import Shape, bucket_of, placed, sizes_at

IMAGES = 20_000


def images(size: int, count: int = IMAGES) -> list[Shape]:
    """Images of random aspect, of one to sixteen times the area of a square."""
    found = []
    generator = random.Random(0)
    while len(found) < count:
        aspect, area = math.exp(generator.uniform(-1, 1) * math.log(4)), size * size * 16 ** generator.random()
        image = math.ceil(math.sqrt(area / aspect)), math.ceil(math.sqrt(area * aspect))
        if max(image) <= 4 * min(image):
            found.append(image)
    return found


def cuts(shapes: Sequence[Shape], buckets: Sequence[Shape]) -> str:
    """The largest and the mean share of an image that is cut off."""
    lost = [placed(image, bucket).cut for image, bucket in zip(shapes, buckets, strict=True)]
    return f"{100 * max(lost):5.1f} % {100 * sum(lost) / len(lost):5.1f} %"


def known(image: Shape, size: int) -> Shape:
    """The bucket of the list for 64 px that cuts off least."""
    both = [bucket for short, long in sizes_at(64, size * size) for bucket in ((short, long), (long, short))]
    return min(both, key=lambda bucket: placed(image, bucket).cut)


def main() -> None:
    """Print the largest and the mean cut for each size."""
    print("size   buckets  cut in buckets   in the list of 64 px   in a square")
    for size in (256, 512, 768, 1024):
        shapes = images(size)
        buckets = [bucket_of(image, (size, size)) for image in shapes]
        listed, square = [known(image, size) for image in shapes], [(size, size)] * len(shapes)
        lost = [cuts(shapes, each) for each in (buckets, listed, square)]
        print(f"{size:4} {len(set(buckets)):9}  {lost[0]}  {lost[1]:>21}  {lost[2]}")


if __name__ == "__main__":
    main()
