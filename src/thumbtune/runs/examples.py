"""A few of the liked and disliked images, kept in the run for its page: people look before they read."""

from pathlib import Path
from typing import Any

from thumbtune.feedback.likes import image_of
from thumbtune.files import write_png
from thumbtune.images import rgb

EACH = 12  # images of a kind
LARGEST = 224  # pixels: the page shows them at half of that


def keep(likes: Any, folder: Path) -> dict[str, list[str]]:
    """Small copies of a dozen images of each kind, spread over the likes; their paths inside `folder`, by kind."""
    labels = list(likes["label"])
    kept: dict[str, list[str]] = {}
    for kind, wanted in (("liked", True), ("disliked", False)):
        rows = [row for row, label in enumerate(labels) if label == wanted]
        count = min(EACH, len(rows))
        chosen = [rows[place * len(rows) // count] for place in range(count)]
        kept[kind] = [_copy(likes, row, folder, Path("examples") / kind) for row in chosen]
    return kept


def _copy(likes: Any, row: int, folder: Path, inside: Path) -> str:
    small = rgb(image_of(likes, row))
    small.thumbnail((LARGEST, LARGEST))
    name = inside / f"{likes['image_id'][row][:16]}.png"
    write_png(folder / name, small)
    return name.as_posix()
