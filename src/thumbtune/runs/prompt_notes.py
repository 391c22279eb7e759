"""What prompts contain that other programs do not read as words, and what is done with it: a sentence for each kind."""

from collections.abc import Iterable, Mapping, Sequence

from thumbtune.errors import joined, plural
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.prompt_syntax import Mark, marks_in
from thumbtune.runs.bundled_base import is_bundled_model
from thumbtune.runs.bundled_words import unknown_note
from thumbtune.runs.text_length import cut_prompts, shown_prompt

SYNTAX: Sequence[Mark] = ("weights", "BREAK", "LoRA tags")  # what prompts.syntax=a1111 reads


def prompt_notes(prompts: Iterable[str], encoding: PromptEncoding, model: str) -> list[str]:
    """Return a sentence on prompts that the model's text encoders cut, and one on each kind of mark in prompts.

    Of the bundled model, another one names the words that it does not know.

    Each says how many prompts it is about, the first of them, and what is done. An import takes such marks out of
    prompts. They are left in stores of earlier versions, in files of prompts, and where nothing shows which tool wrote
    a prompt.

    Raises:
        ThumbtuneError: the model's tokenizer cannot be loaded.
    """
    distinct = list(dict.fromkeys(filter(None, prompts)))
    unknown = unknown_note(distinct) if is_bundled_model(model) else None
    cut = cut_prompts(model, distinct, encoding).notes(len(distinct))
    return [*([unknown] if unknown else []), *cut, *mark_notes(distinct, encoding)]


def mark_notes(prompts: Sequence[str], encoding: PromptEncoding) -> list[str]:
    """Return a sentence on each kind of mark in prompts."""
    found: dict[Mark, list[str]] = {}
    total = len(prompts)
    for prompt in prompts:
        for mark in marks_in(prompt):
            found.setdefault(mark, []).append(prompt)
    plain = encoding.syntax == "plain"
    notes = [_as_text(found, total)] if plain else [_tags_gone(found, total), _unread_weights(found, total)]
    if inversions := found.get("textual inversions"):
        notes.append(
            f"{_of(inversions, total)} a textual inversion (embedding:name), which is not loaded, so the name is read "
            f"as text; the first is {shown_prompt(inversions[0])}."
        )
    if edits := found.get("edits"):
        how = "" if plain else ", and each bracket weighs 0.91"
        notes.append(
            f"{_of(edits, total)} edits such as [cat:dog:0.5] or [cat|dog], which are not carried out but read as "
            f"text{how}; the first is {shown_prompt(edits[0])}."
        )
    if several := found.get("AND"):
        notes.append(
            f"{_of(several, total)} AND, by which A1111 draws one image from several prompts; here it is a word, and "
            f"a number behind a prompt is text; the first is {shown_prompt(several[0])}."
        )
    return [note for note in notes if note]


def _as_text(found: Mapping[Mark, list[str]], total: int) -> str:
    """Return the sentence on marks that are read as text."""
    kinds: list[Mark] = [kind for kind in SYNTAX if kind in found]
    marked = list(dict.fromkeys(prompt for kind in kinds for prompt in found[kind]))
    if not marked:
        return ""
    return (
        f"{_of(marked, total)} {joined(kinds)} as A1111 writes them, which are read as text here; the first is "
        f"{shown_prompt(marked[0])}; prompts.syntax=a1111 (--syntax a1111) reads the weights and takes the tags out."
    )


def _tags_gone(found: Mapping[Mark, list[str]], total: int) -> str:
    """Return the sentence on LoRA tags that are taken out."""
    if not (tags := found.get("LoRA tags")):
        return ""
    return (
        f"{_of(tags, total)} LoRA tags, which are taken out, and their LoRAs are not loaded; the first is "
        f"{shown_prompt(tags[0])}."
    )


def _unread_weights(found: Mapping[Mark, list[str]], total: int) -> str:
    """Return the sentence on weights whose number cannot be read."""
    if not (unread := found.get("unread weights")):
        return ""
    return (
        f"{_of(unread, total)} weights that cannot be read, such as (cat:1,3) or a (cat:1.3 that is not closed; their "
        f"colon and number are read as text, and the bracket weighs 1.1; the first is {shown_prompt(unread[0])}."
    )


def _of(prompts: list[str], total: int) -> str:
    return f"Of {plural(total, 'prompt')}, {len(prompts)} {'contains' if len(prompts) == 1 else 'contain'}"
