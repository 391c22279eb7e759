r"""Read a prompt as Automatic1111 (A1111) and its forks read it: words with weights, and breaks between them.

    (x)  ((x))  [x]         weight 1.1, 1.21, 1 / 1.1           (x:1.3)         weight 1.3
    \(  \)  \[  \]  \\      the bracket itself, no weight       BREAK           what follows begins a new chunk
    <lora:name:0.8>         taken out: `<word:...>` names a file that another program would load

A bracket that is never closed weighs all that follows it, and one that was never opened is text, as in A1111. A BREAK
inside brackets is a break here; A1111 reads it as a word of negative weight, which nobody means. Edits ([cat:dog:0.5],
[cat|dog]) and AND need several prompts for one image: they are not carried out, and their letters are read as text.

ComfyUI knows (x) and (x:1.3) alone: [x] and BREAK are text to it. What it does with weights differs too, see
`prompt_encoding`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

Piece = tuple[str, float]  # a text and its weight
Mark = Literal["weights", "BREAK", "LoRA tags", "textual inversions", "edits"]

ROUND, SQUARE = 1.1, 1 / 1.1
_TAG = re.compile(r"<\w+:[^>]+>")
_TOKEN = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_MARKS: Sequence[tuple[Mark, re.Pattern[str]]] = (
    (
        "weights",
        re.compile(
            r"\([^()]*(?:[^\d\s():]|[^\W\d]\w{0,40}\d)\s*:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)|\({2}[^()]+\){2}|\[{2}[^\[\]]+\]{2}|\\[()\[\]]"
        ),
    ),
    ("BREAK", re.compile(r"\bBREAK\b")),
    ("LoRA tags", re.compile(r"<(?:lora|lyco|lycoris|loha|lokr|locon|hypernet|hypernetwork):[^>]+>", re.IGNORECASE)),
    ("textual inversions", re.compile(r"(?<![\w.])embedding:[\w./\\-]", re.IGNORECASE)),
    ("edits", re.compile(r"\[[^\[\]]*(?::[^\[\]:|]*:\s*\d*\.?\d+\s*|:\s*0?\.\d+\s*|\|[^\[\]]*)\]")),
)


def sections_of(prompt: str) -> list[list[Piece]]:
    """Return the weighted texts of a prompt, in a list for each section between two BREAKs.

    Neighbours of one weight are joined, so that a word that an escape divides is one word again.

    >>> sections_of(r"a (red:1.3) apple \\(fruit\\)")
    [[('a ', 1.0), ('red', 1.3), (' apple (fruit)', 1.0)]]
    >>> sections_of("sky BREAK ((snow)) <lora:ink:0.8>")
    [[('sky', 1.0)], [('snow', 1.2100000000000002), (' ', 1.0)]]
    """
    texts: list[str | None] = []  # None: a break
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    for found in _TOKEN.finditer(_TAG.sub("", prompt)):
        token, weight = found[0], found[1]
        if token in opened:
            opened[token].append(len(texts))
        elif weight is not None and opened["("]:
            weigh(opened["("].pop(), float(weight))
        elif token == ")" and opened["("]:
            weigh(opened["("].pop(), ROUND)
        elif token == "]" and opened["["]:
            weigh(opened["["].pop(), SQUARE)
        else:
            read = list(_parts(token)) if token[0] != "\\" else [token[1:]] if token[1:] else []
            texts += read
            weights += [1.0] * len(read)
    for start in opened["("]:
        weigh(start, ROUND)
    for start in opened["["]:
        weigh(start, SQUARE)
    return _joined(zip(texts, weights, strict=True))


def _parts(text: str) -> Iterator[str | None]:
    """Yield the texts between BREAKs, and None for each BREAK."""
    for number, part in enumerate(_BREAK.split(text)):
        if number:
            yield None
        if part:
            yield part


def _joined(pieces: Iterator[tuple[str | None, float]]) -> list[list[Piece]]:
    """Return the sections of texts and breaks, with neighbours of one weight joined."""
    sections: list[list[Piece]] = [[]]
    for text, weight in pieces:
        if text is None:
            sections.append([])
        elif sections[-1] and sections[-1][-1][1] == weight:
            sections[-1][-1] = (sections[-1][-1][0] + text, weight)
        else:
            sections[-1].append((text, weight))
    return sections


def marks_in(prompt: str) -> set[Mark]:
    """Return what of the syntax a prompt contains; single brackets alone are no mark, since texts have them too.

    >>> sorted(marks_in("a (red:1.2) cat <lora:ink:1> BREAK embedding:bad"))
    ['BREAK', 'LoRA tags', 'textual inversions', 'weights']
    >>> marks_in("a cat (asleep) [sic] at 10:30")
    set()
    """
    return {mark for mark, pattern in _MARKS if pattern.search(prompt)}
