"""Take the commands and weights of image generators out of a prompt, so that only its words are left.

    a (red:1.3) apple <lora:ink:0.8>, snow BREAK light    ->    a red apple, snow light

A tool reads `(red:1.3)` as a strength and `<lora:ink:0.8>` as a file to load; a text encoder elsewhere would read both
as words. This happens where a row is imported, once for all sources: readers of files return prompts as they are
written, and with them which tool wrote them, where that is known.

    Automatic1111, Forge, Fooocus, SwarmUI, Draw Things    (a:1.3) ((a)) [a] \\( [a:b:0.5] [a|b] BREAK AND <lora:...>
    ComfyUI          (a:1.3) ((a)) \\( embedding:name <lora:...>; brackets are text
    InvokeAI         (a)1.3 (a)++ a++
    NovelAI          {a} [a] 1.3::a::
    Midjourney       --ar 16:9 ..., a::2, addresses of images in front, Job ID
    our own          none, since each letter was read as text; with --syntax a1111 as Automatic1111's

In a prompt of unknown origin, such as a cell of a table, only marks that nobody writes as words count, such as
`<lora:...>` or `(red:1.3)`; they show that the rest is in Automatic1111's syntax. Any other prompt stays as it is,
letter by letter. Choices that are still open, {a|b} and __animal__, are kept and counted: what was drawn is unknown.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import zip_longest
from typing import Literal

Syntax = Literal["automatic1111", "comfyui", "invokeai", "novelai", "midjourney", "plain", "a1111"]
OWN_SYNTAXES: tuple[Syntax, ...] = ("plain", "a1111")  # as `thumbtune generate --syntax` reads prompts, and writes them
Mark = Literal["lora", "command", "weight", "edit", "midjourney", "choice", "settings"]

# What an import says about each kind of mark, after a number of prompts.
NOTES: Mapping[Mark, str] = {
    "lora": "contained LoRA tags or embeddings, such as <lora:ink:0.8>, which were removed",
    "command": "contained commands such as BREAK, which were removed",
    "weight": "contained weights such as (red:1.3), of which the words were kept",
    "edit": "contained edits such as [cat:dog:0.5], of which the words that held longest were kept",
    "midjourney": "contained Midjourney's parameters, such as --ar 16:9, which were removed",
    "settings": "held a negative prompt or settings too, which were taken out",
    "choice": "contained open choices such as {red|blue} or __color__, which stay as they are",
}
DEFAULT_STEPS = 20  # of Automatic1111: an edit may count in steps, [cat:dog:12]
MAX_WEIGHT = 10  # above, as in (16:30), a number is no weight
MAX_WORD = 30  # letters of the word before BREAK that are looked at
MAX_DEPTH = 100  # brackets in brackets
NO_MARKS: frozenset[Mark] = frozenset()
GONE = "\0"  # stands for what was removed until the spaces and commas around it are mended

# Without any of these letters a prompt has no marks; looking for them is faster than for the marks.
_SUSPECT = (
    "<",
    "(",
    "[",
    "\\",
    "{",
    "::",
    "--",
    "\u2013",
    "\u2014",
    "__",
    "BREAK",
    "AND",
    "+",
    "Job ID",
    "mbedding:",
    "** - ",
)
_TAG = re.compile(
    r"<(?:(?:lora|lyco|lycoris|loha|lokr|locon|hypernet|hypernetwork|embed|embedding|ti|region|clear|model|vae|upscale"
    r"|preset|setvar|param):[^<>\n]{1,300}|break)>",
    re.IGNORECASE,
)
# SwarmUI: what follows describes a part of the image, or another pass.
_SECTION = re.compile(r"<(?:segment|object|refiner|video|extend)(?::[^<>\n]{1,300})?>.*", re.IGNORECASE | re.DOTALL)
_EMBEDDING = re.compile(r"(?<![\w.])embedding:[\w./\\-]+(?::\d*\.?\d+)?", re.IGNORECASE)
_BREAK = re.compile(r"(?<![\w'-])BREAK(?![\w'-])")
# Words around BREAK that make it a word of a picture, as in: a sign that says BREAK; a BREAK button.
_BEFORE_A_WORD = frozenset(
    "says saying say said reading reads read word words text texts title titled sign letters lettering called named "
    "labeled labelled spelling spells spelled written caption captioned logo the an".split()
)
_AFTER_A_WORD = frozenset("sign signs logo text lettering letters button room time point neon dance dancer".split())
_AND = re.compile(r"(?<![\w'-])AND(?![\w'-])")
_WEIGHTED = re.compile(r"(?<!\\)\([^()\n]{0,999}[^\d\s():.][)\s]*:\s*(?:\d|\d?\.\d+|\d\.\d*)\s*\)")
_DOUBLED = re.compile(r"(?<![\\\w])\(\([^()\n]+\)\)")
_ESCAPED = re.compile(r"\\[()\[\]]")
_EDIT = re.compile(r"(?<!\\)\[[^\[\]\n:]*:[^\[\]\n:]*:\s*\d*\.?\d+\s*\]")
_UNMISTAKABLE = (
    ("<", _TAG),
    ("mbedding:", _EMBEDDING),
    (":", _WEIGHTED),
    ("((", _DOUBLED),
    ("\\", _ESCAPED),
    ("[", _EDIT),
)
_CHOICE = re.compile(r"\{[^{}\n|]{0,300}\|[^{}\n]{0,300}\}|(?<!\w)__[A-Za-z][\w/*-]{0,80}?__(?!\w)")
_NUMBER = re.compile(r"\s*[+-]?(?:\d{1,4}\.?\d{0,9}|\.\d{1,9})\s*", re.ASCII)

_INVOKE_GROUP = re.compile(r"(?<!\\)\(([^()]*)\)(?:[+-]+|\d*\.\d+|\d)(?!\w)")
_INVOKE_WORD = re.compile(r"(?<=\w)(?:\+{1,9}|-{2,9})(?=[\s,.)]|$)")
_NOVELAI = re.compile(r"(-?(?:\d{1,4}\.?\d{0,9}|\.\d{1,9}))?::")

# Midjourney's parameters by the number of their values: any, or one at most.
_ANY_VALUES = ("no", "sref", "cref", "oref", "p", "profile")
_ONE_VALUE = frozenset(
    "ar aspect v version niji q quality s stylize c chaos w weird seed sameseed style stop tile iw hd test testp "
    "creative upbeta uplight upanime video repeat r raw cw sw sv ow exp fast relax turbo draft stealth public "
    "motion".split()
)
_PARAMETER = re.compile(r"(?:--|[\u2013\u2014])([a-z]+)(?![\w-])", re.IGNORECASE)
_JOB = re.compile(r"\bJob ID:\s*[0-9a-f-]{8,}\s*$", re.IGNORECASE)
_DISCORD = re.compile(r"\*\*([^\n]+)\*\* - [^\n]{0,200}\((?:fast|relaxed|turbo|[^()\n]{0,40}%|[^()\n]{0,40}fast)\)")
_PART = re.compile(r"::\s?(-?(?:\d{1,4}\.?\d{0,9}|\.\d{1,9}))?(?=[\s,]|$)")
_AROUND = " \t\r\n,"


def plain_prompt(text: str, syntax: Syntax | None = None) -> tuple[str, frozenset[Mark]]:
    """Return the words of a prompt, and the kinds of marks in it. A prompt without marks is returned as it is."""
    if syntax == "plain" or GONE in text or not _is_suspect(text):
        return text, NO_MARKS
    marks: set[Mark] = set()
    words = _without_midjourney(text, syntax, marks)
    if syntax == "midjourney":
        return words, frozenset(marks)
    if syntax is None and _is_marked(words):
        syntax = "automatic1111"
    if syntax is not None:
        words = _READERS[syntax](words, marks)
    if ("{" in words or "__" in words) and _CHOICE.search(words):
        marks.add("choice")
    return (_mended(words) if marks - {"choice"} else text), frozenset(marks)


def _is_suspect(text: str) -> bool:
    for letters in _SUSPECT:  # `any` of a generator takes twice as long, and this runs for every row of an import
        if letters in text:
            return True
    return False


def notes_on(marks: Mapping[Mark, int]) -> Iterable[tuple[int, str]]:
    """Yield how many prompts contained each kind of mark, with the words for it."""
    return ((marks[mark], words) for mark, words in NOTES.items() if marks.get(mark))


def _is_marked(text: str) -> bool:
    """Return whether a prompt of unknown origin has marks that nobody writes as words."""
    if any(letters in text and pattern.search(text) for letters, pattern in _UNMISTAKABLE):
        return True
    return "BREAK" in text and any(_is_command(text, found) for found in _BREAK.finditer(text))


def _is_command(text: str, found: re.Match[str]) -> bool:
    """Return whether a BREAK of unknown origin is a command, and no word of a sign or of a text in capitals."""
    start, end = found.span()
    before = re.findall(r"\w+", text[max(0, start - MAX_WORD) : start])[-2:]
    after = re.findall(r"\w+", text[end : end + MAX_WORD])[:1]
    shouts = all(word.isupper() for word in before) and any(len(word) > 1 for word in before)
    is_word = not _BEFORE_A_WORD.isdisjoint(before[-1:]) or not _AFTER_A_WORD.isdisjoint(after)
    return bool(before or after) and not shouts and not is_word and text.count('"', 0, start) % 2 == 0


def _gone(mark: Mark, marks: set[Mark], _: object) -> str:
    marks.add(mark)
    return GONE


def _without_midjourney(text: str, syntax: Syntax | None, marks: set[Mark]) -> str:
    """Return a prompt without Midjourney's parameters, which stand at its end."""
    if syntax not in (None, "midjourney"):
        return text
    if not any(letters in text for letters in ("--", "\u2013", "\u2014", "Job ID", "http", "::", "** - ")):
        return text
    said = _DISCORD.fullmatch(text.strip())
    words = said[1] if said else _JOB.sub("", text)
    start = next((at.start() for at in _PARAMETER.finditer(words) if _is_parameter(words, at)), len(words))
    if words == text and not (start < len(words) and _all_parameters(words[start:].split())):
        return text
    marks.add("midjourney")
    words = words[:start]
    while words.lstrip().startswith(("http://", "https://", "<http")):
        words = "".join(words.lstrip().split(maxsplit=1)[1:])
    parts = _PART.split(words)  # a part, its weight, a part, its weight, ...
    weights = [weight or "" for weight in parts[1::2]]
    kept = [part for part, weight in zip_longest(parts[::2], weights, fillvalue="") if not weight.startswith("-")]
    return re.sub(r"[ \t]+", " ", " ".join(kept)).strip(_AROUND) if weights else words.strip(_AROUND)


def _is_parameter(text: str, found: re.Match[str]) -> bool:
    """Return whether a word is the name of one of Midjourney's parameters."""
    apart = found.start() == 0 or text[found.start() - 1].isspace()
    return apart and found[1].lower() in (*_ANY_VALUES, *_ONE_VALUE)


def _all_parameters(words: list[str]) -> bool:
    """Return whether these words are names of Midjourney's parameters with as many values as they take."""
    room = 0.0
    for word in words:
        found = _PARAMETER.match(word)
        if found and _is_parameter(word, found):
            room = 1e9 if found[1].lower() in _ANY_VALUES else 1
        elif room:
            room -= 1
        else:
            return False
    return True


def _automatic1111(text: str, marks: set[Mark]) -> str:
    text = _tags_gone(text, marks)
    text = _BREAK.sub(partial(_gone, "command", marks), text)
    parts = _AND.split(text)
    if len(parts) > 1:
        marks.add("command")
        text = "and".join(part for each in parts if (part := _weighed(each, marks, " ")) != GONE)
    return _unwrapped(text, "()[]", marks)


def _comfyui(text: str, marks: set[Mark]) -> str:
    return _unwrapped(_tags_gone(text, marks), "()", marks)


def _invokeai(text: str, marks: set[Mark]) -> str:
    before, text = text, _tags_gone(text, marks)
    for _ in range(MAX_DEPTH):
        unwrapped = _INVOKE_GROUP.sub(r"\1", text)
        if unwrapped == text:
            break
        text = unwrapped
    text = _INVOKE_WORD.sub("", text)
    if text != before:
        marks.add("weight")
    return re.sub(r"\\([()])", r"\1", text)


def _novelai(text: str, marks: set[Mark]) -> str:
    first, *rest = _NOVELAI.split(text)  # a text, and before each further one its weight, or None for the end of one
    words = [first]
    for weight, part in zip(rest[::2], rest[1::2], strict=True):
        marks.add("weight")
        if weight is None:
            words[-1] = words[-1].rstrip()
        words.append(part if weight is None or float(weight) > 0 else GONE)
    text = "".join(words)
    return _unwrapped(text, "{}[]", marks)


def _tags_gone(text: str, marks: set[Mark]) -> str:
    text = _TAG.sub(partial(_gone, "lora", marks), _SECTION.sub(partial(_gone, "command", marks), text))
    return _EMBEDDING.sub(partial(_gone, "lora", marks), text)


def _weighed(text: str, marks: set[Mark], end: str = "") -> str:
    """Return a text without the weight at its end, or nothing if that takes its words out of the image."""
    words, colon, number = text.rpartition(":")
    if not colon or not _NUMBER.fullmatch(number) or abs(float(number)) >= MAX_WEIGHT:
        return text
    marks.add("weight")
    return words.rstrip() + end if float(number) > 0 else GONE


def _unwrapped(text: str, brackets: str, marks: set[Mark]) -> str:
    """Return a text without the brackets that weigh its words; one that has no partner or is escaped stays.

    `brackets` are pairs, as in "()[]". Choices, {a|b}, are left alone.
    """
    closes = {brackets[at + 1]: brackets[at] for at in range(0, len(brackets), 2)}
    written: list[str] = []
    open_at: list[tuple[str, int]] = []  # the bracket, and its place in `written`
    for match in re.finditer(r"\\[()\[\]{}]|[()\[\]{}]|[^\\()\[\]{}]+|\\", text):
        token = match[0]
        if token[0] == "\\" and token != "\\":
            marks.add("weight")
            written.append(token[1])
        elif token in closes.values() and len(open_at) < MAX_DEPTH:
            open_at.append((token, len(written)))
            written.append(token)
        elif token in closes and open_at and open_at[-1][0] == closes[token]:
            _, start = open_at.pop()
            inside = "".join(written[start + 1 :])
            if token == "}" and "|" in inside:
                written.append(token)
                continue
            del written[start:]
            written.append(_inside(inside, token, marks))
        else:
            written.append(token)
    return "".join(written)


def _inside(text: str, close: str, marks: set[Mark]) -> str:
    """Return the words in a pair of brackets."""
    if close == "]":
        *words, when = text.split(":")
        if words and _NUMBER.fullmatch(when):
            marks.add("edit")
            return _longest(words, float(when))
        if "|" in text:
            marks.add("edit")
            return " ".join(part.strip() for part in text.split("|") if part.strip())
    if not text.strip(GONE + " ,"):
        return text if GONE in text else f"{'(' if close == ')' else '['}{text}{close}"
    marks.add("weight")
    return _weighed(text, marks) if close == ")" else text


def _longest(words: list[str], when: float) -> str:
    """Return the words of an edit that held for most of the steps: [from:to:when] or [to:when]."""
    share = when if when <= 1 else when / DEFAULT_STEPS
    before, after = (words[0], words[1]) if len(words) > 1 else ("", words[0])
    kept = before if share > 1 / 2 else after
    return kept or GONE


def _mended(text: str) -> str:
    """Return a text with the spaces and commas around what was removed as a person would write them."""
    first, *rest = text.split(GONE)
    written, between = [first.rstrip(_AROUND)], first[len(first.rstrip(_AROUND)) :]
    for part in rest:
        words = part.strip(_AROUND)
        if words:
            between += part[: part.index(words[0])]
            written += [_joint(between, words[0]) if any(written) else "", words]
            between = part[len(part.rstrip(_AROUND)) :]
        else:
            between += part
    return "".join(written).strip()


def _joint(between: str, following: str) -> str:
    """Return what to write between two words for the spaces and commas that stood around something removed."""
    if following in ".;!?":
        return ""
    return ("," if "," in between else "") + ("\n" if "\n" in between else " ")


_READERS = {
    "automatic1111": _automatic1111,
    "a1111": _automatic1111,
    "comfyui": _comfyui,
    "invokeai": _invokeai,
    "novelai": _novelai,
}
