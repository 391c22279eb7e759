"""Copies of a few liked and disliked images, stored in the run for its report."""

from pathlib import Path
from typing import Any

from thumbtune.feedback.likes import image_of
from thumbtune.files import write_png
from thumbtune.images import rgb

EXAMPLES_PER_KIND = 12
MAX_EXAMPLE_PIXELS = 224  # per side: the report shows them at half of that


def save_examples(likes: Any, folder: Path) -> dict[str, list[str]]:
    """Save small copies of up to 12 images of each kind, spread over the likes; return their paths by kind."""
    labels = list(likes["label"])
    paths: dict[str, list[str]] = {}
    for kind, label in (("liked", True), ("disliked", False)):
        rows = [row for row, other in enumerate(labels) if other == label]
        count = min(EXAMPLES_PER_KIND, len(rows))
        chosen = [rows[place * len(rows) // count] for place in range(count)]
        paths[kind] = [_save_copy(likes, row, folder, Path("examples") / kind) for row in chosen]
    return paths


def _save_copy(likes: Any, row: int, folder: Path, inside: Path) -> str:
    small = rgb(image_of(likes, row))
    small.thumbnail((MAX_EXAMPLE_PIXELS, MAX_EXAMPLE_PIXELS))
    name = inside / f"{likes['image_id'][row][:16]}.png"
    write_png(folder / name, small)
    return name.as_posix()
