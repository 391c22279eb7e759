"""What is wrong with likes before any training: refused where nothing can be learnt, noted where a person should look.

refused   all thumbs are of one image; every image is both liked and disliked under the same prompts
noted     images of a single colour; images that are both liked and disliked

Images are compared by what they show, since a copy that was saved again has another file.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.likes import image_of
from thumbtune.images import rgb

MOST = 256  # images that are opened, from all over the table: a second or a few, however many likes there are


def look(likes: Any) -> list[str]:
    """Sentences on what looks wrong; none where all is well.

    Raises:
        ThumbtuneError: nothing can be learnt from these likes, or an image is gone.
    """
    rows = sorted({i * len(likes) // MOST for i in range(MOST)} if len(likes) > MOST else range(len(likes)))
    some = likes.select(rows)
    marks, blank = [], 0
    for row in range(len(some)):
        image = rgb(image_of(some, row))
        marks.append(hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest())
        blank += image.getcolors(1) is not None  # no more than one
    _refuse(marks, some["prompt"], some["label"])
    pairs = list(zip(marks, some["label"], strict=True))
    both = len({mark for mark, liked in pairs if liked} & {mark for mark, liked in pairs if not liked})
    notes = []
    if blank:
        notes.append(
            f"{blank} of {len(some)} images are of a single colour: look whether they were drawn and saved whole."
        )
    if both:
        notes.append(
            f"{both} of {len(set(marks))} images are both liked and disliked: right where the thumb was for how an "
            "image follows its prompt, and otherwise they teach nothing."
        )
    return notes


def _refuse(marks: Sequence[str], prompts: Sequence[str], liked: Sequence[bool]) -> None:
    """Raise where no image differs from another, or each has the opposite thumb too."""
    if len(marks) > 1 and len(set(marks)) == 1:
        raise ThumbtuneError(
            f"All {len(marks)} thumbs that were looked at are of one and the same image, so there is nothing to tell "
            "likes from dislikes by; import the images that they were given for."
        )
    alike = [" ".join(prompt.casefold().split()).rstrip(" .!") for prompt in prompts]
    said = [{(m, p) for m, p, own in zip(marks, alike, liked, strict=True) if own == kind} for kind in (True, False)]
    if said[0] and said[0] == said[1]:
        raise ThumbtuneError(
            "Every image is both liked and disliked under the same prompt, so that its thumbs cancel; take back one "
            "of the two for each."
        )
