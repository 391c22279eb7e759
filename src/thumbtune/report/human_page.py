"""The page of a human test: one HTML file that works without a server and does not name the models.

It is made from a questionnaire and, for each trial, a left and a right image as data URIs. The URIs contain no names or
metadata of files, and both images of a pair are encoded alike.
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

ANSWERS_VERSION = 1  # of the files that the page writes
MAX_SIDE = 768  # pixels of the longest side
MAX_PNG_SIDE = 128  # larger images are stored as JPEG
JPEG_QUALITY = 92

Uris = tuple[str, str]  # the left image's, the right one's


def human_page(questionnaire: Questionnaire, images: Mapping[str, Uris]) -> str:
    """Return the page as HTML.

    Args:
        images: data URIs of the left and the right image of each trial, by its id.

    Raises:
        ThumbtuneError: a trial has no images.
    """
    missing = next((name for name, _ in questionnaire.trials if name not in images), None)
    if missing is not None:
        raise ThumbtuneError(
            f"The trial {missing} has no images; give two for each trial.", code="human-trial-without-images"
        )
    script = resources.files("thumbtune.report").joinpath("human.js").read_text(encoding="utf-8")
    trials = [
        {"id": name, "words": words, "left": images[name][0], "right": images[name][1]}
        for name, words in questionnaire.trials
    ]
    return template("human.html.j2").render(
        question=questionnaire.question,
        count=len(trials),
        test={"form": ANSWERS_VERSION, "study": questionnaire.study, "trials": trials},
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def encode_pair(left: Path, right: Path) -> Uris:
    """Return two images as data URIs with only pixels, on white, of equal longest side, at most `MAX_SIDE`.

    Raises:
        ThumbtuneError: an image cannot be read.
    """
    images = [_pixels(path) for path in (left, right)]
    side = min(MAX_SIDE, *(max(image.size) for image in images))
    return _uri(_shrunk(images[0], side), side), _uri(_shrunk(images[1], side), side)


def _pixels(path: Path) -> Image.Image:
    """Return the upright image on white, as a new image because Pillow copies comments between images."""
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise ThumbtuneError(
            f"{path} cannot be read as an image; replace it, and run the duel again.", code="image-unreadable"
        ) from error
    on_white = Image.new("RGB", upright.size, "white")
    on_white.paste(upright, mask=upright.getchannel("A"))
    return on_white


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _uri(image: Image.Image, side: int) -> str:
    encoded = io.BytesIO()
    kind = "png" if side <= MAX_PNG_SIDE else "jpeg"
    if kind == "png":
        image.save(encoded, "PNG")
    else:
        image.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # full chroma keeps the colours of thin lines
    return f"data:image/{kind};base64,{base64.b64encode(encoded.getvalue()).decode('ascii')}"
