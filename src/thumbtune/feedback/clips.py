"""The clips of a table of likes: how many frames each row has, and the frames of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thumbtune.clips import count_frames, read_clip
from thumbtune.feedback.likes import cell_of, image_of, opened_cell

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image


FASTEST = 1000  # frames a second: no file has a shorter frame


@dataclass(frozen=True)
class Clips:
    """The frames of each row that are used: the first `frames[row]` of them, at `rate` a second; empty: one of each."""

    frames: Sequence[int] = ()
    rate: int = 1

    def of(self, row: int) -> int:
        """Return how many frames of a row are used."""
        return self.frames[row] if self.frames else 1

    @property
    def are_images(self) -> bool:
        """Return whether one frame of each row is used."""
        return {*self.frames} <= {1}


def frames_in_each(likes: Dataset, rate: int, most: int) -> list[int]:
    """Return how many frames each row has at a rate, `most` at most; an image has one. A file is read once.

    Raises:
        ThumbtuneError: a file is missing, or damaged; or one is a video, and PyAV is missing.
    """
    known: dict[str, int] = {}
    counts = []
    for row, image in enumerate(likes["image_id"]):
        if image not in known:
            with opened_cell(*cell_of(likes, row)) as file:
                known[image] = count_frames(file, rate, most)
        counts.append(known[image])
    return counts


def is_clip(likes: Dataset, row: int) -> bool:
    """Return whether the file of a row has frames.

    Raises:
        ThumbtuneError: as `frames_in_each`.
    """
    with opened_cell(*cell_of(likes, row)) as file:
        return count_frames(file, FASTEST, 2) > 1


def clip_of(likes: Dataset, row: int, clips: Clips) -> Image:
    """Return the frames of a row that are used; for one frame, its image.

    Raises:
        ThumbtuneError: as `frames_in_each`.
    """
    if clips.of(row) == 1:
        return image_of(likes, row)
    with opened_cell(*cell_of(likes, row)) as file:
        return read_clip(file, clips.rate, clips.of(row))
