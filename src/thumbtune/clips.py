"""Clips: images with frames. Pillow reads animations (GIF, WebP, APNG), and PyAV reads videos (`thumbtune.videos`).

A clip is taken from its start, at the rate of a model: frame k is the one that is shown at (k + 1/2) / rate seconds.
So a file that was written at this rate gives its own frames, though its times are rounded to milliseconds.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from thumbtune import videos
from thumbtune.errors import reason
from thumbtune.files import write_whole
from thumbtune.images import rgb

MIDDLE = 0.5  # of a frame's time
SHORTEST = 10  # milliseconds: browsers show a frame of at most so many for USUAL
USUAL = 100
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # further images of a TIFF or of a phone's JPEG are no frames

Shown = Callable[[], Image.Image]  # makes the RGB of a frame, before the next one is read
Timed = tuple[Shown, float]  # a frame, and the second at which it ends
File = Path | BinaryIO


class Clip(Image.Image):
    """An image with frames: used as an image it is its first frame, as an animation is in Pillow.

    frames: all of them, in RGB
    rate:   frames a second
    """

    def __init__(self, frames: Sequence[Image.Image], rate: float) -> None:
        super().__init__()
        self.__dict__.update(frames[0].__dict__)
        self.frames = tuple(frames)
        self.rate = rate


def frames_of(image: Image.Image) -> tuple[Image.Image, ...]:
    """Return the frames of a clip; of any other image, the image."""
    return image.frames if isinstance(image, Clip) else (image,)


def of_each_frame(image: Image.Image, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return an image, or a clip, whose frames were changed one by one."""
    return Clip([*map(change, image.frames)], image.rate) if isinstance(image, Clip) else change(image)


def usable(count: int, step: int) -> int:
    """Return the largest number of frames up to `count` that is a multiple of a step and one more.

    >>> usable(81, 4), usable(80, 4), usable(24, 8), usable(3, 4)
    (81, 77, 17, 1)
    """
    return (count - 1) // step * step + 1


def count_frames(file: File, rate: float, most: int) -> int:
    """Return how many frames a file has at a rate, `most` at most; an image has one.

    Raises:
        OSError: the file is missing, or no whole image or clip.
        ThumbtuneError: it is a video, and PyAV is missing.
    """
    return max(1, sum(1 for _ in _sampled(file, rate, most)))


def read_clip(file: File, rate: float, count: int) -> Image.Image:
    """Return the first `count` frames of a file at a rate, or its first one as an image.

    Raises:
        OSError, ThumbtuneError: as `count_frames`.
    """
    frames: list[Image.Image] = []
    before: Image.Image | None = None
    for shown, is_next in _sampled(file, rate, count):
        before = shown() if is_next or before is None else before
        frames.append(before)
    if len(frames) > 1:
        return Clip(frames, rate)
    return first_frame(file)


def first_frame(file: File) -> Image.Image:
    """Return the first frame of a file, as RGB.

    Raises:
        OSError, ThumbtuneError: as `count_frames`.
    """
    shown, _ = next(_timed(file))
    return shown()


def check_frames(file: File, most: int) -> None:
    """Decode the frames of a file, `most` pixels of them at most.

    Raises:
        OSError, ThumbtuneError: as `count_frames`.
    """
    with Image.open(file) as image:
        pixels = image.width * image.height
    for place, _ in enumerate(_timed(file), 1):
        if (place + 1) * pixels > most:
            return


def _sampled(file: File, rate: float, most: int) -> Iterator[tuple[Shown, bool]]:
    """Yield the frames that a file shows at a rate, and whether each is another one than before."""
    count = 0
    for shown, end in _timed(file):
        is_next = True
        while count < most and (count + MIDDLE) / rate < end:
            yield shown, is_next
            count, is_next = count + 1, False
        if count >= most:
            return


def _timed(file: File) -> Iterator[Timed]:
    """Yield the frames of a file as they are stored; the next one may overwrite the pixels of the one before."""
    if videos.is_video(file):
        yield from videos.frames_in(file)
        return
    with Image.open(file) as image:
        places, end = places_in(image), 0
        for place in places:
            try:
                image.seek(place)
                image.load()
            except Exception as error:  # Pillow's decoders raise errors of many types
                raise OSError(f"frame {place + 1} is damaged ({reason(error)})") from error
            told = image.info.get("duration") or 0
            end += (told if told > SHORTEST else USUAL) if len(places) > 1 else 0  # a still image has no length
            yield partial(rgb, image), end / 1000


def places_in(image: Image.Image) -> range:
    """Return the places of an opened image's frames; an APNG may have an image before them that is none of them."""
    if image.format not in ANIMATED or not getattr(image, "is_animated", False):
        return range(1)
    return range(int(bool(getattr(image, "default_image", False))), getattr(image, "n_frames", 1))


def evenly_spaced(image: Image.Image, count: int) -> tuple[Image.Image, ...]:
    """Return frames of a clip, the middles of `count` equal parts, or all if they are fewer; of an image, the image.

    >>> clip = Clip([Image.new("L", (1, 1), level) for level in range(9)], 16)
    >>> [frame.getpixel((0, 0)) for frame in evenly_spaced(clip, 4)]
    [1, 3, 5, 7]
    """
    frames = frames_of(image)
    if len(frames) <= count:
        return frames
    return tuple(frames[(2 * part + 1) * len(frames) // (2 * count)] for part in range(count))


def own_frames(file: Path) -> Image.Image:
    """Return the frames that a WebP file stores, at their average rate, as RGB; of an image, the image.

    Raises:
        OSError: it is missing or damaged.
    """
    frames, end = [], 0.0
    for shown, end in _timed(file):  # noqa: B007 - the last one counts
        frames.append(shown())
    return Clip(frames, len(frames) / end) if len(frames) > 1 else frames[0]


def webp(image: Image.Image, **options: Any) -> bytes:
    """Return a clip as a WebP animation, which browsers play, or an image as a WebP image.

    options: of Pillow, such as its quality; without any, no pixel is lost
    """
    frames, written = frames_of(image), io.BytesIO()
    how = options or {"lossless": True}
    if isinstance(image, Clip):
        ends = [round(1000 * (place + 1) / image.rate) for place in range(len(frames))]
        times = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        how |= {"save_all": True, "append_images": frames[1:], "duration": times, "loop": 0}
    frames[0].save(written, "WEBP", **how)
    return written.getvalue()


def write_clip(path: Path, image: Image.Image, *, exif: bytes = b"", durable: bool = False) -> Path:
    """Write a clip, or an image, as a WebP file without loss, whole or not at all, and return its path.

    Raises:
        ThumbtuneError: the disk is full, or the folder cannot be written.
    """
    data = webp(image, lossless=True, **({"exif": exif} if exif else {}))
    return write_whole(path, lambda partial: partial.write_bytes(data), durable=durable)
