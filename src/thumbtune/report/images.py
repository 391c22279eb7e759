"""Images inside a page, as data URIs."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from thumbtune.clips import Clip, of_each_frame, own_frames, webp

LARGEST = 224  # twice the 112 CSS pixels of a strip: sharp on dense screens
QUALITY = 85
SMALL = 128  # up to here PNG is small enough; larger images are photographs, and go in as JPEG


def data_uri(path: Path, largest: int = LARGEST) -> str | None:
    """Return an image or a clip as a data URI, re-encoded to be small and without metadata; None if unreadable."""
    try:
        if path.suffix.lower() == ".webp" and isinstance(clip := own_frames(path), Clip):
            return clip_uri(of_each_frame(clip, lambda frame: _shrunk(frame, largest)))
        with Image.open(path) as opened:
            image = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (OSError, UnidentifiedImageError):
        return None
    photograph = max(image.size) > SMALL and image.mode == "RGB"
    image.thumbnail((largest, largest))
    written = io.BytesIO()
    if photograph:
        image.save(written, "JPEG", quality=QUALITY)
    else:
        image.save(written, "PNG")
    kind = "jpeg" if photograph else "png"
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def _shrunk(frame: Image.Image, largest: int) -> Image.Image:
    small = frame.copy()
    small.thumbnail((largest, largest))
    return small


def clip_uri(clip: Image.Image) -> str:
    """Return a clip as the data URI of a WebP animation, which a page plays."""
    return f"data:image/webp;base64,{base64.b64encode(webp(clip, quality=QUALITY)).decode('ascii')}"


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
