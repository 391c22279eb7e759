"""How the API names an image: its id, its size, and the addresses of its file and its small copies."""

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel

from thumbtune.feedback.store.store import StoredImage
from thumbtune.studio.thumbs import VIDEOS

ImageId = Annotated[int, Path(ge=1, lt=2**63)]
MARK_CHARACTERS = 16  # of the hash in an address, so that a browser's copy is never that of another image
TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".avif": "image/avif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
}
SHOWN_BY_BROWSERS = {".png", ".jpg", ".webp", ".gif", ".bmp", ".avif", ".mp4", ".webm"}


class ShownImage(BaseModel):
    """An image as a page shows it. `view` is what is judged: the file itself where browsers show it."""

    id: int
    prompt: str
    width: int
    height: int
    view: str
    thumb: str
    video: bool


def suffix_of(image: StoredImage) -> str:
    """Return the suffix of an image's file."""
    return PurePosixPath(image.file).suffix


def mark_of(image: StoredImage) -> str:
    """Return the part of an image's hash that stands in its addresses."""
    return image.sha256[:MARK_CHARACTERS]


def addresses_of(image: StoredImage) -> dict[str, object]:
    """Return the fields of `ShownImage`."""
    base, mark, suffix = f"/api/v1/images/{image.id}", mark_of(image), suffix_of(image)
    return {
        "id": image.id,
        "prompt": image.prompt,
        "width": image.width,
        "height": image.height,
        "view": f"{base}/file?v={mark}" if suffix in SHOWN_BY_BROWSERS else f"{base}/thumb?side=768&v={mark}",
        "thumb": f"{base}/thumb?side=256&v={mark}",
        "video": suffix in VIDEOS,
    }
