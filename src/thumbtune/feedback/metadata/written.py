"""What a maker of images writes down about one: the prompt it was made for, and with what."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from thumbtune.feedback.store.votes import INTEGER_LIMIT

MAX_TEXT = 4_000_000  # characters; graphs of hundreds of nodes are far below, and longer ones only cost time


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written; None where nothing was, or where it could be read in more than one way."""

    prompt: str | None = None
    negative: str | None = None
    seed: int | None = None
    model: str | None = None


NOTHING = Written()


def written(values: Mapping[str, object], *, prompt: object, negative: object = None, model: object = None) -> Written:
    """Whatever the cells hold, and the seed from `values`; what is no such thing is left out."""
    return Written(
        prompt=plain_text(prompt),
        negative=plain_text(negative),
        seed=seed_in(values.get("seed")),
        model=plain_text(model),
    )


def plain_text(value: object) -> str | None:
    """Text that any database and any tokenizer takes, or None."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return None
    text = value.replace("\0", "").strip()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half a character, which JSON can carry
        return None
    return text or None


def seed_in(value: object) -> int | None:
    """A whole number that a database holds, or None: some makers draw seeds from 64 bits without a sign."""
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
    """The object that some text holds as JSON; an empty one if it holds none."""
    if not isinstance(text, (str, bytes)) or len(text) > MAX_TEXT:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError too
        return {}
    return value if isinstance(value, dict) else {}
