r"""Read a prompt as Automatic1111 (A1111) and its forks read it: words with weights, and breaks between them.

    (x)  ((x))  [x]         weight 1.1, 1.21, 1 / 1.1           (x:1.3)         weight 1.3
    \(  \)  \[  \]  \\      the bracket itself, no weight       BREAK           what follows begins a new chunk
    <lora:name:0.8>         taken out: `<word:...>` names a file that another program would load

A bracket that is never closed weighs all that follows it, and one that was never opened is text, as in A1111. A BREAK
inside brackets is a break here; A1111 reads it as a word of negative weight, which nobody means. Edits ([cat:dog:0.5],
[cat|dog]) and AND need several prompts for one image: they are not carried out, and their letters are read as text. So
is a number that cannot be read: (x:1,3) weighs `x:1,3` as (x) does.

ComfyUI knows (x) and (x:1.3) alone: [x] and BREAK are text to it. What it does with weights differs too, see
`prompt_encoding`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

Piece = tuple[str, float]  # a text and its weight
Mark = Literal["weights", "unread weights", "BREAK", "LoRA tags", "textual inversions", "edits", "AND"]

ROUND, SQUARE = 1.1, 1 / 1.1
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"  # each text has one way to match, or runs of digits take their length squared
_WEIGHED = r"(?:[^\d\s():]|[^\W\d]\w{0,40}\d)"  # the end of what a number weighs: in 10:30 it weighs nothing
_TAG = re.compile(r"<\w+:[^>]+>")
_TOKEN = re.compile(rf"\\[()\[\]\\]|\\|[(\[]|:\s*({_NUMBER})\s*\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")
_MARKS: Sequence[tuple[Mark, re.Pattern[str]]] = (
    (
        "weights",
        re.compile(rf"\([^()]*{_WEIGHED}\s*:\s*{_NUMBER}\s*\)|\({{2}}[^()]+\){{2}}|\[{{2}}[^\[\]]+\]{{2}}|\\[()\[\]]"),
    ),
    ("BREAK", _BREAK),
    ("textual inversions", re.compile(r"(?<![\w.])embedding:[\w./\\-]", re.IGNORECASE)),
)
_LORA_TAG = re.compile(r"<(?:lora|lyco|lycoris|loha|lokr|locon|hypernet|hypernetwork):[^>]+>", re.IGNORECASE)
_IN_SQUARE, _IN_ROUND = re.compile(r"\[([^\[\]]*)\]"), re.compile(r"\(([^()]*)\)")
_PART, _STEP = re.compile(r"\s*0?\.\d+\s*"), re.compile(r"\s*(?:\d+(?:\.\d+)?|\.\d+)\s*")
_LIKE_NUMBER, _AS_READ = re.compile(r"\s*[+-]?[.,]*\d[\d.,]*%?\s*"), re.compile(rf"\s*{_NUMBER}\s*")
_ENDS_WEIGHED = re.compile(rf"{_WEIGHED}\s*$")
_UNCLOSED = re.compile(rf"{_WEIGHED}\s*:\s*{_NUMBER}")
_AND = re.compile(r"\bAND\b")
MAX_WEIGHED = 100  # characters before a colon that tell what it weighs


def sections_of(prompt: str) -> list[list[Piece]]:
    """Return the weighted texts of a prompt, in a list for each section between two BREAKs.

    Neighbours of one weight are joined, so that a word that an escape divides is one word again.

    >>> sections_of(r"a (red:1.3) apple \\(fruit\\)")
    [[('a ', 1.0), ('red', 1.3), (' apple (fruit)', 1.0)]]
    >>> sections_of("sky BREAK ((snow)) <lora:ink:0.8>")
    [[('sky', 1.0)], [('snow', 1.2100000000000002), (' ', 1.0)]]
    """
    texts: list[str | None] = []  # None: a break
    factors: list[tuple[int, int, float]] = []  # of the texts from one to before another, in their order
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for found in _TOKEN.finditer(_without_tags(prompt)):
        token, weight = found[0], found[1]
        if token in opened:
            opened[token].append(len(texts))
        elif weight is not None and opened["("]:
            factors.append((opened["("].pop(), len(texts), float(weight)))
        elif token == ")" and opened["("]:
            factors.append((opened["("].pop(), len(texts), ROUND))
        elif token == "]" and opened["["]:
            factors.append((opened["["].pop(), len(texts), SQUARE))
        else:
            texts += list(_parts(token)) if token[0] != "\\" else [token[1:]] if token[1:] else []
    factors += [(start, len(texts), ROUND) for start in opened["("]]
    factors += [(start, len(texts), SQUARE) for start in opened["["]]
    weights = np.ones(len(texts))
    with np.errstate(over="ignore", invalid="ignore"):
        for start, stop, factor in factors:
            weights[start:stop] *= factor
    return _joined(zip(texts, weights.tolist(), strict=True))


def _without_tags(prompt: str) -> str:
    """Return a prompt without `<word:...>`. Behind the last > there is none, and looking for one there takes long."""
    end = prompt.rfind(">") + 1
    return _TAG.sub("", prompt[:end]) + prompt[end:]


def _parts(text: str) -> Iterator[str | None]:
    """Yield the texts between BREAKs, and None for each BREAK; the spaces around one belong to it."""
    parts = _BREAK.split(text)
    parts = [parts[0], *(part.lstrip() for part in parts[1:])]
    parts = [*(part.rstrip() for part in parts[:-1]), parts[-1]]
    for number, part in enumerate(parts):
        if number:
            yield None
        if part:
            yield part


def _joined(pieces: Iterator[tuple[str | None, float]]) -> list[list[Piece]]:
    """Return the sections of texts and breaks, with neighbours of one weight joined."""
    sections: list[list[tuple[list[str], float]]] = [[]]
    for text, weight in pieces:
        if text is None:
            sections.append([])
        elif sections[-1] and sections[-1][-1][1] == weight:
            sections[-1][-1][0].append(text)
        else:
            sections[-1].append(([text], weight))
    return [[("".join(texts), weight) for texts, weight in section] for section in sections]


def marks_in(prompt: str) -> set[Mark]:
    """Return what of the syntax a prompt contains; single brackets alone are no mark, since texts have them too.

    >>> sorted(marks_in("a (red:1.2) cat <lora:ink:1> BREAK embedding:bad"))
    ['BREAK', 'LoRA tags', 'textual inversions', 'weights']
    >>> sorted(marks_in("a [cat:dog:0.5] AND (red:1,3)"))
    ['AND', 'edits', 'unread weights']
    >>> marks_in("a cat (asleep) [sic] at 10:30")
    set()
    """
    found: set[Mark] = {mark for mark, pattern in _MARKS if pattern.search(prompt)}
    others: Sequence[tuple[Mark, bool]] = (
        ("LoRA tags", _LORA_TAG.search(prompt, 0, prompt.rfind(">") + 1) is not None),
        ("edits", any(_is_edit(inside[1]) for inside in _IN_SQUARE.finditer(prompt))),
        ("unread weights", _has_unread_weight(prompt)),
        ("AND", prompt != prompt.upper() and _AND.search(prompt) is not None),
    )
    found |= {mark for mark, is_there in others if is_there}
    return found


def _is_edit(inside: str) -> bool:
    """Return whether A1111 would change what stands in square brackets while it draws."""
    before, colon, when = inside.rpartition(":")
    if "|" in inside:
        return True
    return bool(colon and (_PART.fullmatch(when) or (":" in before and _STEP.fullmatch(when))))


def _has_unread_weight(prompt: str) -> bool:
    """Return whether round brackets hold a weight that cannot be read: (x:1,3), or (x:1.3 without an end."""
    for inside in _IN_ROUND.finditer(prompt):
        weighed, colon, number = inside[1].rpartition(":")
        if colon and _LIKE_NUMBER.fullmatch(number) and not _AS_READ.fullmatch(number):
            if _ENDS_WEIGHED.search(weighed[-MAX_WEIGHED:]):
                return True
    last = prompt.rfind("(")
    return last != -1 and prompt.find(")", last) == -1 and _UNCLOSED.search(prompt, last) is not None
