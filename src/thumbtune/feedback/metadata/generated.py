"""Write what made an image in the two forms that `thumbtune import` reads back, and other programs too.

    parameters text   inside the image, as Automatic1111 writes it: galleries and ComfyUI's readers show it
    row               of metadata.jsonl beside the image, as Hugging Face's imagefolder reads it

Automatic1111's text has no quotes around a prompt, so one with a line "Steps: 20" cannot be told from settings. Such
prompts stand once more behind the settings, in quotes, as Exact prompt and Exact negative prompt.
"""

import json
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from thumbtune.feedback.metadata.automatic1111 import EXACT, EXACT_NEGATIVE, NEGATIVE, WRITER, read_automatic1111
from thumbtune.feedback.metadata.parameters import plain_text
from thumbtune.feedback.metadata.texts import EXIF_FOLDER, USER_COMMENT, comment_text

SYNTAX_COLUMN = "prompt_syntax"
UTF16 = b"UNICODE\0"  # EXIF's name of the encoding
ORDER_MARK = b"\xfe\xff"


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What made one image: the prompts as a person wrote them, and the options of the sampler.

    syntax:    how the prompt was read: plain text, or weights and tags of A1111
    sampler:   the name of the scheduler, as in DDIM
    clip_skip: the layer of the text encoder, 1 for the last; None: the model's own
    frames:    of a clip; 1 for an image
    """

    prompt: str
    seed: int
    steps: int
    guidance: float
    sampler: str
    width: int
    height: int
    model: str
    negative: str = ""
    syntax: Literal["plain", "a1111"] = "plain"
    clip_skip: int | None = None
    frames: int = 1


def parameters_text(made: Generated, version: str) -> str:
    """Return Automatic1111's text of an image; `read_automatic1111` gives back its prompts, seed and model.

    >>> fox = Generated(prompt="a fox", seed=4, steps=25, guidance=3.0, sampler="DDIM", width=64, height=64, model="m")
    >>> print(parameters_text(fox, "1.0"))
    a fox
    Steps: 25, Sampler: DDIM, CFG scale: 3, Seed: 4, Size: 64x64, Model: m, Version: thumbtune 1.0
    """
    prompt, negative = _encodable(made.prompt), _encodable(made.negative)
    settings = {
        "Steps": str(made.steps),
        "Sampler": _quoted(made.sampler),
        "CFG scale": f"{made.guidance:g}",
        "Seed": str(made.seed),
        "Size": f"{made.width}x{made.height}",
        "Model": _quoted(_encodable(made.model)),
    }
    if made.clip_skip is not None:
        settings["Clip skip"] = str(made.clip_skip)
    if made.frames > 1:
        settings["Frames"] = str(made.frames)
    if made.syntax != "plain":
        settings["Prompt syntax"] = made.syntax
    settings["Version"] = f"{WRITER} {version}"
    text = _joined(prompt, negative, settings)
    found = read_automatic1111(text)
    if (found.prompt, found.negative) == (plain_text(prompt), plain_text(negative)):
        return text
    return _joined(prompt, negative, settings | {EXACT: json.dumps(prompt), EXACT_NEGATIVE: json.dumps(negative)})


def row_of(made: Generated, file_name: str) -> dict[str, object]:
    """Return the row of an image for metadata.jsonl."""
    row: dict[str, object] = {
        "file_name": file_name,
        "prompt": _encodable(made.prompt),
        "negative_prompt": _encodable(made.negative),
        "seed": made.seed,
        "steps": made.steps,
        "guidance": made.guidance,
        "sampler": made.sampler,
        "width": made.width,
        "height": made.height,
        "model": _encodable(made.model),
        SYNTAX_COLUMN: made.syntax,
    }
    return (
        row
        | ({"clip_skip": made.clip_skip} if made.clip_skip is not None else {})
        | ({"frames": made.frames} if made.frames > 1 else {})
    )


def comment_exif(text: str) -> bytes:
    """Return EXIF whose UserComment is a text, as Automatic1111 writes it into WebP and JPEG.

    The mark of the order of bytes stands before it only where a reader could not tell the order without it.
    """
    data = text.encode("utf-16-be")
    comment = UTF16 + data
    if comment_text(comment, ">") != text:
        comment = UTF16 + ORDER_MARK + data
    exif = Image.Exif()
    exif.endian = ">"
    exif.get_ifd(EXIF_FOLDER)[USER_COMMENT] = comment
    return exif.tobytes()


def _joined(prompt: str, negative: str, settings: dict[str, str]) -> str:
    lines = [prompt, *([f"{NEGATIVE} {negative}"] if negative else [])]
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in settings.items())])


def _quoted(value: str) -> str:
    """Return a value in quotes where a comma, a colon or a line end would end it, as Automatic1111 does."""
    return json.dumps(value, ensure_ascii=False) if any(letter in value for letter in ',:"\n\r') else value


def _encodable(text: str) -> str:
    """Return a text without zero bytes and halves of characters, which no file of text can hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
