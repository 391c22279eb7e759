"""The page of a human test: one file that works without a server, and that knows no sides.

What comes in is a questionnaire and, for each trial, a left and a right image as data URIs. Neither names nor
metadata of files get through, and both images of a pair are encoded alike.
"""

import base64
import hashlib
import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from markupsafe import Markup
from PIL import Image, ImageOps

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.human.plan import Questionnaire
from thumbtune.report.templates import template

FORM = 1  # of the answers that the page writes
LARGEST = 768  # pixels of the longest side
SMALL = 128  # up to here PNG is small enough; larger images go in as JPEG
QUALITY = 92

Uris = tuple[str, str]  # the left image's, the right one's


def human_page(asked: Questionnaire, images: Mapping[str, Uris]) -> str:
    """The page as HTML.

    Args:
        images: data URIs of the left and the right image of each trial, by its id.

    Raises:
        ThumbtuneError: a trial has no images.
    """
    missing = next((name for name, _ in asked.trials if name not in images), None)
    if missing is not None:
        raise ThumbtuneError(f"The trial {missing} has no images; give two for each trial.")
    script = resources.files("thumbtune.report").joinpath("human.js").read_text(encoding="utf-8")
    trials = [
        {"id": name, "words": words, "left": images[name][0], "right": images[name][1]} for name, words in asked.trials
    ]
    return template("human.html.j2").render(
        question=asked.question,
        count=len(trials),
        test={"form": FORM, "study": asked.study, "trials": trials},
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def encode_pair(left: Path, right: Path) -> Uris:
    """Two images as data URIs: of one longest side, at most `LARGEST`, on white, without anything but pixels.

    Raises:
        ThumbtuneError: one of them cannot be read.
    """
    images = [_pixels(path) for path in (left, right)]
    side = min(LARGEST, *(max(image.size) for image in images))
    return _uri(_shrunk(images[0], side), side), _uri(_shrunk(images[1], side), side)


def _pixels(path: Path) -> Image.Image:
    """What is seen of an image, upright; a new image, since Pillow carries comments over from one to the next."""
    try:
        with Image.open(path) as opened:
            seen = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise ThumbtuneError(f"{path} is no image that can be read; mend it, and run the duel again.") from error
    plain = Image.new("RGB", seen.size, "white")
    plain.paste(seen, mask=seen.getchannel("A"))
    return plain


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _uri(image: Image.Image, side: int) -> str:
    written = io.BytesIO()
    kind = "png" if side <= SMALL else "jpeg"
    if kind == "png":
        image.save(written, "PNG")
    else:
        image.save(written, "JPEG", quality=QUALITY, subsampling=0)  # thin lines keep their colours
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
