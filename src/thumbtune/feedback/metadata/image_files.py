"""Read the generation parameters inside an image; docs/reading.md lists the tools.

`texts` gathers the texts inside it by name, and each name has its reader here. The first text with a prompt counts, in
the order of `READERS`; a text that says `unknown` has none. The pixels are not decoded. Pillow limits how far it
unpacks compressed text.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from thumbtune.feedback.images import MAX_BYTES, UnreadableImage, opened
from thumbtune.feedback.metadata.automatic1111 import read_automatic1111, read_description, read_dream, read_text_file
from thumbtune.feedback.metadata.parameters import NO_PARAMETERS, Parameters, first_with_prompt, json_object
from thumbtune.feedback.metadata.texts import Texts, texts_in
from thumbtune.feedback.metadata.tool_json import (
    read_fields,
    read_invokeai,
    read_json,
    read_novelai,
    read_prompt,
    read_sd_metadata,
)
from thumbtune.feedback.source import Bytes

__all__ = [
    "parameters_in",
    "parameters_in_file",
    "parameters_in_image",
    "read_automatic1111",
    "read_invokeai",
    "read_text_file",
]

# Fields that Easy Diffusion and others write as texts of their own, beside a text with the prompt.
FIELDS = ("prompt", "positive_prompt", "negative_prompt", "negative prompt", "seed", "model", "model_name", "sd_model")
EASY_DIFFUSION = ("use_stable_diffusion_model", "stable diffusion model")


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
            texts = texts_in(image)
    except Exception:  # Pillow raises errors of any type; the import reports a broken image
        return NO_PARAMETERS
    return first_with_prompt(_each_in(texts)) if texts else NO_PARAMETERS


def _each_in(texts: Texts) -> Iterator[Parameters]:
    """Yield what every reader finds, in the order of trust."""
    names = {name for name, _ in texts}
    if "novelai" in _of(texts, "software").lower():
        yield _novelai_of(texts)
    for name, read in READERS.items():
        if name == "workflow" and "prompt" in names:  # the graph that ran; a canvas may hold more nodes
            continue
        for text in (text for named, text in texts if named == name):
            found = read(text)
            yield _with_fields(found, texts) if name == "prompt" and found.syntax is None else found


def _of(texts: Texts, name: str) -> str:
    return next((text for named, text in texts if named == name), "")


def _novelai_of(texts: Texts) -> Parameters:
    """Read NovelAI's texts: Comment is JSON, in whose first years the prompt stood in Description alone."""
    comment = json_object(_of(texts, "comment"))
    found = read_novelai({**comment, "Description": _of(texts, "description")})
    return replace(found, model=found.model or _of(texts, "source") or None)


def _with_fields(found: Parameters, texts: Texts) -> Parameters:
    """Add the seed, model and negative prompt that stand in texts of their own beside a plain prompt."""
    if found.prompt is None:
        return found
    fields = {name: text for name, text in texts if name in FIELDS + EASY_DIFFUSION}
    beside = read_fields({**fields, "prompt": found.prompt})
    return replace(
        found,
        negative=found.negative or beside.negative,
        seed=beside.seed if found.seed is None else found.seed,
        model=found.model or beside.model,
    )


READERS: dict[str, Callable[[str], Parameters]] = {
    "invokeai_metadata": lambda text: read_invokeai(json_object(text)),
    "parameters": read_automatic1111,
    "parameters-json": lambda text: read_json(json_object(text)),
    "generation_data": lambda text: read_json(json_object(text)),
    "prompt": read_prompt,
    "positive_prompt": read_prompt,
    "workflow": lambda text: read_json(json_object(text)),
    "extrametadata": lambda text: read_json({"extraMetadata": text}),
    "sd-metadata": read_sd_metadata,
    "dream": read_dream,
    "comment": read_description,
    "description": read_description,
}
