"""An image from a browser into the store, by the function that `thumbtune import --unrated` uses.

Its name is for sentences alone and never a path. Nothing is stored before the whole file was decoded: it must be one
PNG, JPEG or WebP and nothing else, with at most as many pixels as any image of the store. The guard limits its bytes.
"""

import io
import os
import tempfile
from collections.abc import AsyncIterator
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.image_ends import JPEG, PNG, RIFF, image_end
from thumbtune.feedback.images import UnreadableImage, in_sentences, inspect_image, opened
from thumbtune.feedback.quoting import shown
from thumbtune.studio.site import Site
from thumbtune.studio.thumbs import AT_ONCE

FORMATS = ("PNG", "JPEG", "MPO", "WEBP")  # MPO: a JPEG with others after it
OTHER = "it is no PNG, JPEG or WebP; convert it to one of these"
SOURCE = "upload"


async def received(parts: AsyncIterator[bytes]) -> BinaryIO:
    """Return a temporary file with what a browser sends, at its beginning; it has no name on the disk.

    Raises:
        ThumbtuneError: there is no room.
    """
    file = tempfile.TemporaryFile()
    try:
        async for part in parts:
            await run_in_threadpool(file.write, part)
        file.seek(0)
    except OSError as error:
        file.close()
        raise ThumbtuneError(
            f"The image could not be received ({error.strerror or error}); make room on the studio's disk.",
            code="upload-no-room",
        ) from error
    except BaseException:
        file.close()
        raise
    return file


def stored(site: Site, file: BinaryIO, name: str, prompt: str) -> bool:
    """Put an image into the store without a vote; return whether it is new there under its prompt.

    Args:
        name: of the file, for sentences.
        prompt: of an image in which no prompt stands.

    Raises:
        ThumbtuneError: it is no usable image, or has no prompt; nothing is stored.
    """
    with AT_ONCE:  # a decoded image of 64 million pixels has 190 MB
        data = file.read()
        try:
            check(data)
        except UnreadableImage as error:
            sentence = f"{_named(name)} cannot be used: {str(error).rstrip('.')}."
            raise ThumbtuneError(sentence, code="upload-unreadable") from error
        return _import(site, data, _named(name), prompt)


def check(data: bytes) -> None:
    """Refuse bytes that are not one whole PNG, JPEG or WebP.

    Raises:
        UnreadableImage: they are something else, broken, too large, or have something after the image.
    """
    if not data.startswith((PNG, JPEG, RIFF)):
        raise UnreadableImage(OTHER if data else "it is empty; replace it with an intact copy")
    with in_sentences(), opened(io.BytesIO(data)) as image:
        if image.format not in FORMATS:  # another RIFF
            raise UnreadableImage(OTHER)
    inspect_image(data)
    end = image_end(data)
    if end is None:
        raise UnreadableImage("its end is missing; replace it with an intact copy")
    if end < len(data):
        raise UnreadableImage(f"it has {len(data) - end:,} bytes after its image; save the image again")


def _import(site: Site, data: bytes, name: str, prompt: str) -> bool:
    from thumbtune.feedback.metadata.image_files import parameters_in  # readers, which a start does not need
    from thumbtune.feedback.source import SourceRow
    from thumbtune.feedback.unrated import NO_PROMPT, import_unrated

    inside = parameters_in(data)
    row = SourceRow(
        where=name,
        image=lambda: data,
        prompt=inside.prompt,
        seed=inside.seed,
        model=inside.model,
        syntax=inside.syntax,
        source=SOURCE,
    )
    report = import_unrated([row], site.store, prompt=prompt.strip())
    for _, why in report.skipped:
        if why == NO_PROMPT:
            raise ThumbtuneError(f"{name} has no prompt in it; type one, and upload it again.", code="upload-no-prompt")
        raise ThumbtuneError(f"{name} cannot be used: {why}.", code="upload-unreadable")
    return report.new > 0


def _named(name: str) -> str:
    """Return a file's name for a sentence: its last part, on one line."""
    return shown(os.path.basename(name.replace("\\", "/")) or "a file")[1:-1]
