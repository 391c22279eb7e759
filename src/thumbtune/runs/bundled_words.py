"""The words that the bundled model knows, by bundled/vocabulary.json, and those of a prompt that it does not."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from thumbtune.errors import joined, plural

VOCABULARY = Path(__file__).parents[1] / "bundled" / "vocabulary.json"
MODEL = "tiny-emoji-64"
WORD = re.compile(r"\w+(?:['-]\w+)*")
# Of prompts in sentences; the model was not trained on all of them, and no image shows one.
FILLERS = frozenset("a an the and or of in on at with by its it is to one small".split())
MAX_NAMED = 8  # words in a note


@dataclass(frozen=True)
class Vocabulary:
    """What captions of the bundled model said.

    concepts: the things, each with its synonyms
    groups:   words for several of them, such as animal
    styles, pages: as in "a key, flat, on blue"
    """

    concepts: dict[str, tuple[str, ...]]
    groups: tuple[str, ...]
    styles: tuple[str, ...]
    pages: tuple[str, ...]

    def unknown(self, prompt: str) -> list[str]:
        """Return the words of a prompt that belong to no phrase which the model knows, in lower case and in order.

        >>> vocabulary().unknown("A small red apple and a bird, line art, on blue")
        ['bird']
        """
        words = [word for word in WORD.findall(prompt.lower()) if any(map(str.isalpha, word))]
        unknown, at = [], 0
        while at < len(words):
            length = next((n for n in range(_longest(), 0, -1) if " ".join(words[at : at + n]) in _phrases()), 0)
            if not length and words[at] not in FILLERS:
                unknown.append(words[at])
            at += length or 1
        return list(dict.fromkeys(unknown))


@cache
def vocabulary() -> Vocabulary:
    """Return the vocabulary of the bundled model."""
    content = json.loads(VOCABULARY.read_text(encoding="utf-8"))
    concepts = {name: tuple(synonyms) for name, synonyms in content["concepts"].items()}
    return Vocabulary(concepts, *(tuple(content[name]) for name in ("groups", "styles", "pages")))


@cache
def _phrases() -> frozenset[str]:
    """Return all phrases that the model knows."""
    known = vocabulary()
    synonyms = (phrase for each in known.concepts.values() for phrase in each)
    return frozenset((*known.concepts, *synonyms, *known.groups, *known.styles, *known.pages))


@cache
def _longest() -> int:
    return max(len(phrase.split()) for phrase in _phrases())


def unknown_note(prompts: Iterable[str]) -> str | None:
    """Return a sentence on the prompts with words that the bundled model does not know; None if there are none."""
    distinct = list(dict.fromkeys(filter(None, prompts)))
    words: dict[str, None] = {}
    count = 0
    for prompt in distinct:
        unknown = vocabulary().unknown(prompt)
        count += bool(unknown)
        words |= dict.fromkeys(unknown)
    if not count:
        return None
    named = list(words)[:MAX_NAMED]
    more = [plural(len(words) - MAX_NAMED, "more", "more")] if len(words) > MAX_NAMED else []
    return (
        f"Of {plural(len(distinct), 'prompt')}, {count} {'has' if count == 1 else 'have'} words that {MODEL} does not "
        f"know ({joined([*named, *more])}), and it generates something else for them; `thumbtune concepts` lists what "
        "it knows."
    )


def is_of_bundled(model: str | None) -> bool:
    """Return whether an image names the bundled model, or a run of it, as what made it."""
    return model is not None and model.partition("+")[0] == MODEL
