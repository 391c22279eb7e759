"""Images inside the page: data URIs, and the before/after grid."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from thumbtune.report.reading import EVALUATION, RunFolder

LARGEST = 224  # twice the 112 CSS pixels of the grid: sharp on dense screens, and no larger
SMALL = 128  # up to here PNG is small enough; larger images are photographs, and go in as JPEG
SHOWN_SEEDS = 2  # further seeds of a prompt are folded away


@dataclass(frozen=True)
class Pair:
    """One prompt and seed, drawn by both models."""

    seed: int
    before: str | None  # data URIs; None where the image is not there
    after: str | None
    scores: tuple[float, float] | None  # of the taste, before and after


@dataclass(frozen=True)
class Row:
    """One prompt of the grid."""

    prompt: str
    shown: list[Pair]
    folded: list[Pair]


def data_uri(path: Path, largest: int = LARGEST) -> str | None:
    """An image as a data URI, re-encoded so that it is small and carries no metadata; None if unreadable."""
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


def grid(run: RunFolder) -> list[Row]:
    """Every prompt of the evaluation in order, the first seeds shown and the rest folded."""
    evaluation = run.evaluation or {}
    taste = next((score for score in evaluation["scores"].values() if score["role"] == "taste"), None)
    rows = []
    for index, prompt in enumerate(evaluation["prompts"]):
        pairs = []
        for place, seed in enumerate(evaluation["seeds"][index]):
            name = f"{index:03d}-{seed}.png"
            before, after = (data_uri(run.folder / EVALUATION / side / name) for side in ("before", "after"))
            scores = (taste["before"][index][place], taste["after"][index][place]) if taste else None
            pairs.append(Pair(seed, before, after, scores))
        rows.append(Row(prompt, pairs[:SHOWN_SEEDS], pairs[SHOWN_SEEDS:]))
    return rows


def missing(rows: list[Row]) -> int:
    """How many images of the grid could not be read."""
    pairs = [pair for row in rows for pair in (*row.shown, *row.folded)]
    return sum((pair.before is None) + (pair.after is None) for pair in pairs)


def thumb_strips(folder: Path, likes: Mapping[str, Any]) -> dict[str, list[str]]:
    """Data URIs of the example images that were liked and disliked, those that can be read."""
    examples = likes.get("examples") or {}
    return {
        kind: [uri for name in examples.get(kind) or [] if (uri := _inside(folder, name)) is not None]
        for kind in ("liked", "disliked")
    }


def _inside(folder: Path, name: str) -> str | None:
    """The image `name` of the run folder. A page is passed on, so it shows nothing from elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    return data_uri(folder / path)
