"""Images inside a page, as data URIs."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

LARGEST = 224  # twice the 112 CSS pixels of a strip: sharp on dense screens
SMALL = 128  # up to here PNG is small enough; larger images are photographs, and go in as JPEG


def data_uri(path: Path, largest: int = LARGEST) -> str | None:
    """Return an image as a data URI, re-encoded to be small and without metadata; None if unreadable."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (OSError, UnidentifiedImageError):
        return None
    photograph = max(image.size) > SMALL and image.mode == "RGB"
    image.thumbnail((largest, largest))
    written = io.BytesIO()
    if photograph:
        image.save(written, "JPEG", quality=85)
    else:
        image.save(written, "PNG")
    kind = "jpeg" if photograph else "png"
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def example_strips(folder: Path, likes: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return data URIs of the readable example images that were liked and disliked."""
    examples = likes.get("examples") or {}
    return {
        kind: [uri for name in examples.get(kind) or [] if (uri := _inside(folder, name)) is not None]
        for kind in ("liked", "disliked")
    }


def _inside(folder: Path, name: str) -> str | None:
    """Return the image `name` of the run's folder. Pages are passed on, so they show nothing from elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    return data_uri(folder / path)
