"""Copies of a few liked and disliked images, or of clips if these are trained, stored in the run for its report."""

from pathlib import Path
from typing import Any

from PIL import Image

from thumbtune.clips import Clip, of_each_frame, write_clip
from thumbtune.feedback.clips import Clips, clip_of
from thumbtune.feedback.likes import image_of
from thumbtune.files import write_png
from thumbtune.images import rgb

EXAMPLES_PER_KIND = 12
EXAMPLE_RATE, EXAMPLE_FRAMES = 8, 16  # two seconds, small enough for 24 of them on a page
MAX_EXAMPLE_PIXELS = 224  # per side: the report shows them at half of that


def save_examples(likes: Any, folder: Path, moving: bool = False) -> dict[str, list[str]]:
    """Save small copies of up to 12 images of each kind, spread over the likes; return their paths by kind.

    moving: whether the first two seconds of clips are saved, not only their first frame
    """
    labels = list(likes["label"])
    paths: dict[str, list[str]] = {}
    for kind, label in (("liked", True), ("disliked", False)):
        rows = [row for row, other in enumerate(labels) if other == label]
        count = min(EXAMPLES_PER_KIND, len(rows))
        chosen = [rows[place * len(rows) // count] for place in range(count)]
        inside = Path("examples") / kind
        paths[kind] = [_save_copy(likes, row, folder, inside, moving) for row in chosen]
    return paths


def _save_copy(likes: Any, row: int, folder: Path, inside: Path, moving: bool) -> str:
    name = inside / likes["image_id"][row][:16]
    image = clip_of(likes, row, Clips([EXAMPLE_FRAMES] * len(likes), EXAMPLE_RATE)) if moving else image_of(likes, row)
    if isinstance(image, Clip):
        path = write_clip(folder / f"{name}.webp", of_each_frame(image, _small))
    else:
        path = folder / f"{name}.png"
        write_png(path, _small(rgb(image)))
    return path.relative_to(folder).as_posix()


def _small(image: Image.Image) -> Image.Image:
    """Return an image with sides of at most MAX_EXAMPLE_PIXELS."""
    small = image.copy()
    small.thumbnail((MAX_EXAMPLE_PIXELS, MAX_EXAMPLE_PIXELS))
    return small
