"""Read the texts that people can read too: those of Automatic1111, Mochi Diffusion, Easy Diffusion and Midjourney.

a fox in snow                                        prompt, of several lines
Negative prompt: blurry
Steps: 20, Sampler: Euler a, Seed: 42, Model: sd15   settings
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from thumbtune.feedback.metadata.parameters import (
    NO_PARAMETERS,
    Parameters,
    json_object,
    plain_text,
    prompt_text,
    seed_in,
)
from thumbtune.feedback.metadata.tool_json import read_json
from thumbtune.feedback.prompts import OWN_SYNTAXES, plain_prompt
from thumbtune.feedback.source import SourceRow

NEGATIVE = "Negative prompt:"
WRITER, EXACT, EXACT_NEGATIVE = "thumbtune", "Exact prompt", "Exact negative prompt"  # of our own texts (`generated`)
SETTINGS = re.compile(
    r"Steps: \d+(?:, |$)|(?:Sampler|Seed|Size|Model|CFG scale|Guidance Scale): [^,]{1,200}, .*Steps: \d+"
)
# A site that joins the lines leaves the names of the fields.
JOINED_NEGATIVE = re.compile(r"(?<=\S) (?=Negative prompt: )")
JOINED_SETTINGS = re.compile(r"(?<=\S) (?=Steps: \d+, (?:[A-Za-z][\w ]{0,30}: [^,]{0,100}, ){0,20}Seed: \d)")
SETTING = re.compile(r'(?:^|, ?)([A-Za-z][\w /-]*): ("(?:[^"\\]|\\.)*"|[^,]*)')
MAX_JOINED = 50_000  # characters
DREAM = re.compile(r'"?(?P<prompt>.+?)"?\s+-s ?\d+ .*?-S ?(?P<seed>\d+)', re.DOTALL)
MAX_DREAM_LENGTH = 10_000
# Mochi Diffusion: names of fields, with "; " between them.
MOCHI = re.compile(r"(?:^|; )(Include in Image|Exclude from Image|Model|Steps|Guidance Scale|Seed|Size|Scheduler): ")
# Easy Diffusion's text beside an image: a field a line.
FIELD = re.compile(r"^([A-Za-z][A-Za-z _]{1,40}): ?(.*)$")


def read_automatic1111(text: str) -> Parameters:
    """Read the text of Automatic1111 and its successors, or JSON of a known form; return no parameters for other text.

    The prompt and the negative prompt may have several lines. Some tools append lines after the settings.
    """
    if text.lstrip("\0 \t\r\n\ufeff").startswith("{") and (values := json_object(text)):
        return read_json(values)
    lines, settings, negative = _parts_of(text.strip("\0 \t\r\n\ufeff").replace("\r\n", "\n"))
    above = lines[:settings]
    if settings is None and negative is None:
        return NO_PARAMETERS
    given: dict[str, str] = {}
    for name, value in SETTING.findall("" if settings is None else lines[settings].strip()):
        given.setdefault(name.lower(), _unquoted(value.strip()))
    negative_prompt = "" if negative is None else "\n".join(above[negative:]).lstrip().removeprefix(NEGATIVE)
    if given.get("version", "").split(" ")[0] == WRITER:
        return _own(given, "\n".join(above[:negative]), negative_prompt)
    prompt = prompt_text("\n".join(above[:negative]))
    # A saver that did not find the prompt writes a seed of 0 beside "unknown".
    known = prompt is not None or plain_text("\n".join(above[:negative])) is None
    return Parameters(
        prompt=prompt,
        negative=prompt_text(negative_prompt),
        seed=seed_in(given.get("seed")) if known else None,
        model=prompt_text(given.get("model") or given.get("model hash")),
        syntax="automatic1111",
    )


def _own(given: Mapping[str, str], prompt: str, negative: str) -> Parameters:
    """Return the parameters of a text that `generated` wrote: no word of a prompt is a placeholder, and none a mark."""
    return Parameters(
        prompt=plain_text(given.get(EXACT.lower(), prompt)),
        negative=plain_text(given.get(EXACT_NEGATIVE.lower(), negative)),
        seed=seed_in(given.get("seed")),
        model=plain_text(given.get("model")),
        syntax="a1111" if given.get("prompt syntax") == "a1111" else "plain",
    )


def _parts_of(text: str) -> tuple[list[str], int | None, int | None]:
    """Return the lines of a text, and the places of its settings and of its negative prompt."""
    lines = text.split("\n")
    settings = _settings_in(lines)
    if settings is None and len(text) <= MAX_JOINED and JOINED_SETTINGS.search(text):
        lines = JOINED_SETTINGS.sub("\n", text).split("\n")
        settings = _settings_in(lines)
    negative = _negative_in(lines[:settings])
    if negative is None and any(JOINED_NEGATIVE.search(line) for line in lines[:settings]):
        above = JOINED_NEGATIVE.sub("\n", "\n".join(lines[:settings]), count=1).split("\n")
        lines, settings = above + lines[settings:] if settings is not None else above, settings and settings + 1
        negative = _negative_in(above)
    return lines, settings, negative


def _negative_in(lines: list[str]) -> int | None:
    """Return the place of the line with which the negative prompt begins."""
    return next((at for at, line in enumerate(lines) if line.lstrip().startswith(NEGATIVE)), None)


def _settings_in(lines: list[str]) -> int | None:
    """Return the place of the last line that has the form of settings."""
    return next((at for at in reversed(range(len(lines))) if SETTINGS.match(lines[at].strip())), None)


def _unquoted(value: str) -> str:
    """Return a value without its quotes: values with commas or colons are written as JSON text."""
    try:
        text = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return text if isinstance(text, str) else value


def read_description(text: str) -> Parameters:
    """Read a description, which may be anything: return parameters only if its form shows who wrote it."""
    if text.startswith("Include in Image: ") or "; Exclude from Image: " in text:
        return _read_mochi(text)
    found = read_automatic1111(text)
    if found != NO_PARAMETERS:
        return _with_draw_things_negative(found)
    if "midjourney" in plain_prompt(text)[1]:
        return Parameters(prompt=prompt_text(text), syntax="midjourney")
    return NO_PARAMETERS


def _with_draw_things_negative(found: Parameters) -> Parameters:
    """Return parameters whose prompt ends with a line "-blurry", as Draw Things writes the negative prompt."""
    lines = (found.prompt or "").split("\n")
    if found.negative is None and len(lines) > 1 and re.match(r"-(?=[^\s-])", lines[-1]):
        return Parameters(
            prompt=prompt_text("\n".join(lines[:-1])),
            negative=plain_text(lines[-1][1:]),
            seed=found.seed,
            model=found.model,
            syntax=found.syntax,
        )
    return found


def _read_mochi(text: str) -> Parameters:
    _, *parts = MOCHI.split(text)
    values = dict(zip(parts[::2], parts[1::2], strict=True))
    return Parameters(
        prompt=prompt_text(values.get("Include in Image")),
        negative=plain_text(values.get("Exclude from Image")),
        seed=seed_in(values.get("Seed")),
        model=plain_text(values.get("Model")),
    )


def read_text_file(text: str) -> Parameters:
    """Read a text file beside an image: a text of Automatic1111, JSON, fields line by line, or the prompt itself."""
    found = read_automatic1111(text)
    if found != NO_PARAMETERS:
        return found
    if json_object(text):  # a tool's settings without a prompt
        return NO_PARAMETERS
    fields = _fields_of(text)
    if fields is not None:
        return read_json(fields)
    return Parameters(prompt=text.replace("\r\n", "\n").strip("\0 \t\r\n\ufeff") or None)


def _fields_of(text: str) -> dict[str, object] | None:
    """Return the values of a text whose every line is a field, with a prompt and a seed among them; or None."""
    lines = [FIELD.match(line) for line in text.strip().splitlines() if line.strip()]
    fields = {found[1].strip().lower(): found[2].strip() for found in lines if found}
    return {**fields} if len(lines) == len(fields) and {"prompt", "seed"} <= set(fields) else None


def settings_apart(row: SourceRow) -> SourceRow:
    """Return a row whose prompt is a whole text of Automatic1111 with the parts in their places; others unchanged."""
    prompt = row.prompt or ""
    if row.syntax in OWN_SYNTAXES:
        return row
    if NEGATIVE not in prompt and "Steps: " not in prompt:
        return row
    found = read_automatic1111(prompt)
    if found == NO_PARAMETERS:
        return row
    seed, model = found.seed if row.seed is None else row.seed, row.model or found.model
    return replace(row, prompt=found.prompt, seed=seed, model=model, syntax=found.syntax)


def read_dream(text: str) -> Parameters:
    """Read the command of InvokeAI 1 and its ancestors, as in "a fox" -s 50 -S 42 -W 512."""
    command = DREAM.match(text[:MAX_DREAM_LENGTH])
    if command is None:
        return NO_PARAMETERS
    return Parameters(prompt=plain_text(command["prompt"]), seed=seed_in(command["seed"]), syntax="invokeai")
