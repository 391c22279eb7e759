"""The generation parameters that image generators write into their images: prompt, seed, model."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from thumbtune.feedback.prompts import Syntax
from thumbtune.feedback.store.votes import INTEGER_LIMIT

# What tools write if they did not find the prompt: ComfyUI's packs of savers, and programs that print a missing value.
PLACEHOLDERS = ("unknown", "n/a", "none", "null", "undefined", "nan", "[object object]")
MAX_TEXT = 4_000_000  # characters; graphs of hundreds of nodes are far shorter


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of one image. A missing or ambiguous one is None.

    The prompt is as the tool wrote it; `syntax` says which commands and weights it may contain, for `prompts`.
    """

    prompt: str | None = None
    negative: str | None = None
    seed: int | None = None
    model: str | None = None
    syntax: Syntax | None = field(default=None, compare=False)


NO_PARAMETERS = Parameters()


def parameters_from(
    values: Mapping[str, object],
    *,
    prompt: object,
    negative: object = None,
    model: object = None,
    syntax: Syntax | None = None,
) -> Parameters:
    """Return the parameters in some cells, with the seed in `values`. A cell of another type counts as missing."""
    return Parameters(
        prompt=prompt_text(prompt),
        negative=plain_text(negative),
        seed=seed_in(values.get("seed")),
        model=plain_text(model),
        syntax=syntax,
    )


def prompt_text(value: object) -> str | None:
    """Return a prompt, or None for other values and for words that tools write for an unknown prompt."""
    text = plain_text(value)
    return None if text is None or text.lower() in PLACEHOLDERS else text


def first_with_prompt(each: Iterable[Parameters]) -> Parameters:
    """Return the first parameters with a prompt, otherwise the first that are not empty."""
    filled = NO_PARAMETERS
    for found in each:
        if found.prompt:
            return found
        filled = found if filled == NO_PARAMETERS else filled
    return filled


def plain_text(value: object) -> str | None:
    """Return text that every database and tokenizer accepts, or None."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return None
    text = value.replace("\0", "").strip()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half a character, which JSON can carry
        return None
    return text or None


def seed_in(value: object) -> int | None:
    """Return a whole number that fits a database, or None: some generators draw unsigned 64-bit seeds."""
    if isinstance(value, str) and len(value) <= len(str(-INTEGER_LIMIT)):
        try:
            value = int(value)
        except ValueError:
            return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -INTEGER_LIMIT <= value < INTEGER_LIMIT else None


def json_object(text: object) -> dict[str, object]:
    """Return the object that a text holds as JSON, or an empty one."""
    if not isinstance(text, (str, bytes)) or len(text) > MAX_TEXT:
        return {}
    try:
        value = json.loads(text.strip("\0 \t\r\n\ufeff") if isinstance(text, str) else text)
    except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError too
        return {}
    return value if isinstance(value, dict) else {}
