"""Read from an image itself what its maker wrote into it: the text of a PNG, the EXIF of JPEG and WebP.

Automatic1111, Forge   `parameters`, or EXIF's UserComment: prompt, "Negative prompt: ...", "Steps: ..., Seed: ..."
Fooocus, SwarmUI       the same places, as JSON
ComfyUI                `prompt`, or EXIF's Model: the graph of nodes; without it `workflow`, the canvas it was drawn on
InvokeAI               `invokeai_metadata`, and in its first years `sd-metadata` and `Dream`

The pixels are not decoded, and text is read no further than Pillow's own limits on text that is compressed.
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
from thumbtune.feedback.metadata.written import MAX_TEXT, NOTHING, Written, json_object, plain_text, seed_in, written
from thumbtune.feedback.source import Bytes
from thumbtune.feedback.sources.contrib.comfyui_canvas import read_canvas

EXIF_FOLDER, USER_COMMENT = 0x8769, 0x9286
EXIF_TEXTS = (0x0110, 0x010F, 0x010E)  # camera, its maker, the image's title: ComfyUI begins there, and counts down
NEGATIVE = "Negative prompt:"
SETTINGS = re.compile(r"Steps: \d+, ")
SETTING = re.compile(r'(?:^|, ?)([A-Za-z][\w /-]*): ("(?:[^"\\]|\\.)*"|[^,]*)')
DREAM = re.compile(r'"?(?P<prompt>.+?)"?\s+-s ?\d+ .*?-S ?(?P<seed>\d+)', re.DOTALL)
LONGEST_DREAM = 10_000


def written_in(data: bytes) -> Written:
    """What the maker of an image wrote into it; nothing for bytes that are no image, or that say nothing."""
    return _written_in(io.BytesIO(data))


def written_in_image(image: Bytes) -> Written:
    """The same of an image that is still to be read; nothing where it cannot be, which its import will say."""
    try:
        return written_in(image())
    except UnreadableImage:
        return NOTHING


def written_in_file(path: Path) -> Written:
    """The same of an image's file, of which no more is read than its beginning where the format allows it."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return NOTHING
        with path.open("rb") as file:
            return _written_in(file)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return NOTHING


def _written_in(file: BinaryIO) -> Written:
    try:
        with opened(file) as image:
            texts = {**dict(_exif_texts(image)), **_texts(image)}
    except Exception:  # Pillow raises whatever its parsers stumble over; what is broken is said when it is decoded
        return NOTHING
    if "prompt" in texts:  # the graph that ran; a canvas may show more than that
        texts.pop("workflow", None)
    found = [read(texts[name]) for name, read in READERS.items() if name in texts]
    told = [one for one in found if one.prompt] or [one for one in found if one != NOTHING]
    return told[0] if told else NOTHING


def _texts(image: Image.Image) -> dict[str, str]:
    """All short texts by their names; of GIF and JPEG the one comment."""
    comment = image.info.get("comment")
    texts = {"comment": comment.decode("utf-8", "replace")} if isinstance(comment, bytes) else {}
    texts |= {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    return {key: value for key, value in texts.items() if len(value) <= MAX_TEXT}


def _exif_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """UserComment, and texts of the form "name:text" as ComfyUI writes them."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would look for it behind the pixels, through them
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
    """EXIF says in eight bytes which letters follow; "UNICODE" is UTF-16, and writers differ on its byte order."""
    kind, text = comment[:8], comment[8:]
    if kind not in (b"UNICODE\0", b"ASCII\0\0\0", b"\0" * 8):
        kind, text = b"", comment
    if kind != b"UNICODE\0" or b"\0" not in text:
        return text.decode("utf-8", "replace")
    if text[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return text.decode("utf-16", "replace")
    # Every maker writes its settings in Latin letters, whose upper halves are zero.
    return text.decode("utf-16-be" if text[::2].count(0) >= text[1::2].count(0) else "utf-16-le", "replace")


def read_parameters(text: str) -> Written:
    """The text of Automatic1111 and those after it; nothing where it is neither that nor JSON of a known form.

    The prompt may have several lines, and so may the negative one. Some tools append lines after the settings.
    """
    if text.lstrip().startswith("{"):
        return _read_json(json_object(text))
    lines = text.strip().replace("\r\n", "\n").split("\n")
    settings = next((at for at in reversed(range(len(lines))) if SETTINGS.match(lines[at].strip())), None)
    above = lines[:settings]
    negative = next((at for at, line in enumerate(above) if line.startswith(NEGATIVE)), None)
    if settings is None and negative is None:
        return NOTHING
    said: dict[str, str] = {}
    for name, value in SETTING.findall("" if settings is None else lines[settings].strip()):
        said.setdefault(name, _unquoted(value.strip()))
    against = "" if negative is None else "\n".join(above[negative:]).removeprefix(NEGATIVE)
    return Written(
        prompt=plain_text("\n".join(above[:negative])),
        negative=plain_text(against),
        seed=seed_in(said.get("Seed")),
        model=plain_text(said.get("Model") or said.get("Model hash")),
    )


def _unquoted(value: str) -> str:
    """Values with commas or colons in them stand in quotes, as JSON."""
    try:
        text = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return text if isinstance(text, str) else value


def _read_json(values: Mapping[str, object]) -> Written:
    """Fooocus writes its settings as one object, SwarmUI one level further down."""
    inner = values.get("sui_image_params")
    if isinstance(inner, dict):
        negative = inner.get("negativeprompt")
        return written(inner, prompt=inner.get("prompt"), negative=negative, model=inner.get("model"))
    return written(
        values,
        prompt=values.get("prompt"),
        negative=values.get("negative_prompt"),
        model=values.get("base_model"),
    )


def _read_prompt(text: str) -> Written:
    """A text named `prompt` is ComfyUI's graph, or what its name says."""
    if text.lstrip().startswith(("{", "[")):
        return read_graph(json_object(text))
    return Written(prompt=plain_text(text))


def read_invokeai(values: Mapping[str, object]) -> Written:
    """InvokeAI's metadata, as it is in the image and in its database; older ones call the model's name model_name."""
    model = values.get("model")
    if isinstance(model, dict):
        model = model.get("name") or model.get("model_name")
    negative = values.get("negative_prompt")
    return written(values, prompt=values.get("positive_prompt"), negative=negative, model=model)


def _read_sd_metadata(text: str) -> Written:
    """InvokeAI 2: the prompt is a text, or one of several weighed against each other, of which there is no one."""
    values = json_object(text)
    image = values.get("image")
    if not isinstance(image, dict):
        return NOTHING
    prompt = image.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], dict):
        prompt = prompt[0].get("prompt")
    return written(image, prompt=prompt, model=values.get("model_weights"))


def _read_dream(text: str) -> Written:
    """InvokeAI 1 and its ancestors: the command that was typed, as in "a fox" -s 50 -S 42 -W 512."""
    command = DREAM.match(text[:LONGEST_DREAM])
    return NOTHING if command is None else written(command.groupdict(), prompt=command["prompt"])


READERS: dict[str, Callable[[str], Written]] = {
    "invokeai_metadata": lambda text: read_invokeai(json_object(text)),
    "parameters": read_parameters,
    "prompt": _read_prompt,
    "workflow": lambda text: read_canvas(json_object(text)),
    "sd-metadata": _read_sd_metadata,
    "Dream": _read_dream,
    "comment": read_parameters,
}
