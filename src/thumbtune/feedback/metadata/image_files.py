"""Read the generation parameters inside an image: from the text of a PNG, or the EXIF of a JPEG or WebP.

Automatic1111, Forge   `parameters`, or EXIF's UserComment: prompt, "Negative prompt: ...", "Steps: ..., Seed: ..."
Fooocus, SwarmUI       the same places, as JSON
ComfyUI                `prompt`, or EXIF's Model: the graph of nodes; without it `workflow`, the canvas
InvokeAI               `invokeai_metadata`, and in its first years `sd-metadata` and `Dream`

The pixels are not decoded. Pillow limits how far compressed text is unpacked.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from thumbtune.feedback.images import MAX_BYTES, UnreadableImage, opened
from thumbtune.feedback.metadata.comfyui import read_graph
from thumbtune.feedback.metadata.parameters import (
    MAX_TEXT,
    NO_PARAMETERS,
    Parameters,
    json_object,
    parameters_from,
    plain_text,
    seed_in,
)
from thumbtune.feedback.source import Bytes
from thumbtune.feedback.sources.contrib.comfyui_canvas import read_canvas

EXIF_FOLDER, USER_COMMENT = 0x8769, 0x9286
EXIF_TEXTS = (0x0110, 0x010F, 0x010E)  # camera, its maker, the image's title: ComfyUI uses them in this order
NEGATIVE = "Negative prompt:"
SETTINGS = re.compile(r"Steps: \d+, ")
SETTING = re.compile(r'(?:^|, ?)([A-Za-z][\w /-]*): ("(?:[^"\\]|\\.)*"|[^,]*)')
DREAM = re.compile(r'"?(?P<prompt>.+?)"?\s+-s ?\d+ .*?-S ?(?P<seed>\d+)', re.DOTALL)
MAX_DREAM_LENGTH = 10_000


def parameters_in(data: bytes) -> Parameters:
    """Return the parameters inside an image's bytes; none for other bytes, or for an image without them."""
    return _parameters_in(io.BytesIO(data))


def parameters_in_image(image: Bytes) -> Parameters:
    """Return the parameters inside an image that is still to be read; none if it cannot be read."""
    try:
        return parameters_in(image())
    except UnreadableImage:
        return NO_PARAMETERS


def parameters_in_file(path: Path) -> Parameters:
    """Return the parameters inside an image file. Only its beginning is read, if the format allows that."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return NO_PARAMETERS
        with path.open("rb") as file:
            return _parameters_in(file)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return NO_PARAMETERS


def _parameters_in(file: BinaryIO) -> Parameters:
    try:
        with opened(file) as image:
            texts = {**dict(_exif_texts(image)), **_texts(image)}
    except Exception:  # Pillow raises errors of any type; the import reports a broken image
        return NO_PARAMETERS
    if "prompt" in texts:  # the graph that ran; a canvas may hold more nodes
        texts.pop("workflow", None)
    parameters = [read(texts[name]) for name, read in READERS.items() if name in texts]
    with_prompt = (each for each in parameters if each.prompt)
    filled = (each for each in parameters if each != NO_PARAMETERS)
    return next(with_prompt, next(filled, NO_PARAMETERS))


def _texts(image: Image.Image) -> dict[str, str]:
    """Return all short texts by name; for GIF and JPEG the comment."""
    comment = image.info.get("comment")
    texts = {"comment": comment.decode("utf-8", "replace")} if isinstance(comment, bytes) else {}
    texts |= {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    return {key: value for key, value in texts.items() if len(value) <= MAX_TEXT}


def _exif_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield UserComment, and ComfyUI's texts of the form "name:text"."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode the pixels to look behind them
        return
    exif = image.getexif()
    comment = exif.get_ifd(EXIF_FOLDER).get(USER_COMMENT) or exif.get(USER_COMMENT)
    if isinstance(comment, bytes):
        comment = _decoded(comment)
    if isinstance(comment, str):
        yield "comment", comment
    for tag in EXIF_TEXTS:
        name, colon, text = str(exif.get(tag, "")).partition(":")
        if colon and name in ("prompt", "workflow"):
            yield name, text


def _decoded(comment: bytes) -> str:
    """Decode a comment whose first eight bytes name its encoding; "UNICODE" is UTF-16 of either byte order."""
    kind, text = comment[:8], comment[8:]
    if kind not in (b"UNICODE\0", b"ASCII\0\0\0", b"\0" * 8):
        kind, text = b"", comment
    if kind != b"UNICODE\0" or b"\0" not in text:
        return text.decode("utf-8", "replace")
    if text[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return text.decode("utf-16", "replace")
    # All generators write their settings in Latin letters, whose upper bytes are zero.
    return text.decode("utf-16-be" if text[::2].count(0) >= text[1::2].count(0) else "utf-16-le", "replace")


def read_automatic1111(text: str) -> Parameters:
    """Read the text of Automatic1111 and its successors, or JSON of a known form; return no parameters for other text.

    The prompt and the negative prompt may have several lines. Some tools append lines after the settings.
    """
    if text.lstrip().startswith("{"):
        return _read_json(json_object(text))
    lines = text.strip().replace("\r\n", "\n").split("\n")
    settings = next((at for at in reversed(range(len(lines))) if SETTINGS.match(lines[at].strip())), None)
    above = lines[:settings]
    negative = next((at for at, line in enumerate(above) if line.startswith(NEGATIVE)), None)
    if settings is None and negative is None:
        return NO_PARAMETERS
    values: dict[str, str] = {}
    for name, value in SETTING.findall("" if settings is None else lines[settings].strip()):
        values.setdefault(name, _unquoted(value.strip()))
    negative_prompt = "" if negative is None else "\n".join(above[negative:]).removeprefix(NEGATIVE)
    return Parameters(
        prompt=plain_text("\n".join(above[:negative])),
        negative=plain_text(negative_prompt),
        seed=seed_in(values.get("Seed")),
        model=plain_text(values.get("Model") or values.get("Model hash")),
    )


def _unquoted(value: str) -> str:
    """Return a value without its quotes: values with commas or colons are written as JSON text."""
    try:
        text = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return text if isinstance(text, str) else value


def _read_json(values: Mapping[str, object]) -> Parameters:
    """Read the JSON of Fooocus, or of SwarmUI, whose object is one level deeper."""
    inner = values.get("sui_image_params")
    if isinstance(inner, dict):
        negative = inner.get("negativeprompt")
        return parameters_from(inner, prompt=inner.get("prompt"), negative=negative, model=inner.get("model"))
    return parameters_from(
        values,
        prompt=values.get("prompt"),
        negative=values.get("negative_prompt"),
        model=values.get("base_model"),
    )


def _read_prompt(text: str) -> Parameters:
    """Read a text named `prompt`: ComfyUI's graph, or the prompt itself."""
    if text.lstrip().startswith(("{", "[")):
        return read_graph(json_object(text))
    return Parameters(prompt=plain_text(text))


def read_invokeai(values: Mapping[str, object]) -> Parameters:
    """Read InvokeAI's metadata, from an image or its database. Older versions have model_name for the model's name."""
    model = values.get("model")
    if isinstance(model, dict):
        model = model.get("name") or model.get("model_name")
    negative = values.get("negative_prompt")
    return parameters_from(values, prompt=values.get("positive_prompt"), negative=negative, model=model)


def _read_sd_metadata(text: str) -> Parameters:
    """Read InvokeAI 2's metadata: the prompt is a text, or a list of weighted texts; of several, none is taken."""
    values = json_object(text)
    image = values.get("image")
    if not isinstance(image, dict):
        return NO_PARAMETERS
    prompt = image.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], dict):
        prompt = prompt[0].get("prompt")
    return parameters_from(image, prompt=prompt, model=values.get("model_weights"))


def _read_dream(text: str) -> Parameters:
    """Read the command of InvokeAI 1 and its ancestors, as in "a fox" -s 50 -S 42 -W 512."""
    command = DREAM.match(text[:MAX_DREAM_LENGTH])
    return NO_PARAMETERS if command is None else parameters_from(command.groupdict(), prompt=command["prompt"])


READERS: dict[str, Callable[[str], Parameters]] = {
    "invokeai_metadata": lambda text: read_invokeai(json_object(text)),
    "parameters": read_automatic1111,
    "prompt": _read_prompt,
    "workflow": lambda text: read_canvas(json_object(text)),
    "sd-metadata": _read_sd_metadata,
    "Dream": _read_dream,
    "comment": read_automatic1111,
}
