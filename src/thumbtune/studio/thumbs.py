"""Small copies of images for the page: WebP of at most 256 or 768 pixels a side, made once and kept on the disk."""

import io
import threading
from enum import IntEnum
from pathlib import Path

from PIL import Image

from thumbtune.feedback.images import MAX_PIXELS, UnreadableImage, opened
from thumbtune.feedback.store.store import StoredImage
from thumbtune.files import write_whole
from thumbtune.images import rgb
from thumbtune.studio.site import Site


class Side(IntEnum):
    """The longest side of a small copy, in pixels."""

    SMALL = 256
    LARGE = 768


QUALITY = {Side.SMALL: 82, Side.LARGE: 90}
SPEED = 2  # of the encoder, 0 to 6; 4 takes twice as long and saves a twentieth
AT_ONCE = threading.BoundedSemaphore(3)  # a decoded image of 64 million pixels has 190 MB
NAME = "thumbs"
VIDEOS = (".mp4", ".webm", ".mov", ".mkv")


def thumb_of(site: Site, image: StoredImage, side: Side) -> Path:
    """Return the file of an image's small copy, made first if it is missing.

    Raises:
        UnreadableImage: the image is a video or broken.
        ThumbtuneError: its file is gone.
    """
    path = site.folder / NAME / str(int(side)) / image.sha256[:2] / f"{image.sha256}.webp"
    if not path.is_file():
        if image.file.endswith(VIDEOS):
            raise UnreadableImage("it is a video, of which there is no small copy; open the file itself")
        with AT_ONCE:
            data = encode(site.store.read(image), side)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda partial: partial.write_bytes(data))
    return path


def encode(data: bytes, side: Side) -> bytes:
    """Return an image as a small WebP.

    Raises:
        UnreadableImage: it is no whole image, or has too many pixels.
    """
    try:
        with opened(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(f"it has more than {MAX_PIXELS:,} pixels; make it smaller")
            image.draft("RGB", (2 * side, 2 * side))  # JPEG is decoded at a half, a quarter or an eighth
            small = rgb(image)
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many types
        raise UnreadableImage("it could not be decoded; replace it with an intact copy") from error
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY[side], method=SPEED)
    return file.getvalue()
