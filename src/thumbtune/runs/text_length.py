"""Prompts as the text encoder reads them: it cuts them to its length, 77 tokens for Stable Diffusion.

Two prompts that are equal once they are cut are one prompt for the model. If one were held out, it would be judged on a
prompt that it was trained on.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, plural, reason
from thumbtune.files import sha256
from thumbtune.models.prompt_chunks import PromptEncoding, chunks_of, tokens_of

CLIP_LENGTH = 77
MAX_LENGTH = 100_000  # transformers writes a far larger number for a tokenizer without a limit
PLAIN = PromptEncoding()
AT_ONCE = 1000
SHOWN = 60  # characters of a prompt in a note


@dataclass(frozen=True, kw_only=True)
class CutPrompts:
    """What the length of a text encoder does to some prompts.

    length:  tokens that it reads, with the two that begin and end every text
    cut:     the prompts that are longer, in their order
    divided: those that are read in several chunks in place of that, each with their number
    same_as: each prompt that equals an earlier one once cut -> that earlier one
    """

    length: int = CLIP_LENGTH
    cut: tuple[str, ...] = ()
    divided: Mapping[str, int] = field(default_factory=dict)
    same_as: Mapping[str, str] = field(default_factory=dict)

    def notes(self, total: int) -> list[str]:
        """Return a sentence on the prompts that are cut, or read in chunks, and one on those that are then equal."""
        notes = []
        if self.divided:
            number = "1 prompt is" if len(self.divided) == 1 else f"{len(self.divided)} prompts are"
            notes.append(
                f"Of {plural(total, 'prompt')}, {number} read in chunks of {self.length} tokens, the longest in "
                f"{max(self.divided.values())}; the first is {shown_prompt(next(iter(self.divided)))}."
            )
        if self.cut:
            number = "1 prompt has" if len(self.cut) == 1 else f"{len(self.cut)} prompts have"
            notes.append(
                f"Of {plural(total, 'prompt')}, {number} more than the {self.length} tokens that the text encoder "
                f"reads, so the end of each is not used; the first is {shown_prompt(self.cut[0])}."
            )
        if self.same_as:
            other, first = next(iter(self.same_as.items()))
            groups = len(set(self.same_as.values()))
            once = f"once they are cut to {self.length} tokens" if self.cut else "as prompts.syntax=a1111 reads them"
            remedy = "shorten them" if self.cut else "write what differs in words"
            notes.append(
                f"{len(self.same_as) + groups} prompts are only {groups} {once}, so "
                f"the model cannot tell them apart: {shown_prompt(first)} and {shown_prompt(other)}; {remedy}."
            )
        return notes


def shown_prompt(prompt: str) -> str:
    """Return a prompt in quotes, shortened for a sentence."""
    return repr(prompt if len(prompt) <= SHOWN else f"{prompt[:SHOWN]}...")


def cut_prompts(model: str, prompts: Iterable[str], encoding: PromptEncoding = PLAIN) -> CutPrompts:
    """Return which of the prompts a model's text encoders cut, and which are then equal.

    Of two encoders, one that cuts a prompt is enough, and two prompts are equal if they are equal for both. Tokenizers
    are only loaded if a prompt is long enough, or has marks that are read: no text has more tokens than bytes.

    Args:
        model: a folder, or a hub id.
        prompts: which may repeat.
        encoding: how they are read; in chunks, none is cut.

    Raises:
        ThumbtuneError: the model's tokenizer cannot be loaded.
    """
    shortest = min(_length_in(model, part) for part in _known_parts(model)) - 2
    distinct = dict.fromkeys(prompts)
    long = [prompt for prompt in distinct if _bytes(prompt) >= shortest]
    if encoding.syntax == "a1111" and (long or any(map(_has_marks, distinct))):
        return _read(model, list(distinct), encoding)
    if not long:
        return CutPrompts()
    if encoding.over_length == "chunks":
        return _read(model, long, encoding)
    tokenizers = [_tokenizer_of(model, part) for part in _parts(model)]
    lengths = [_length_of(model, tokenizer) for tokenizer in tokenizers]
    if min(lengths) > MAX_LENGTH:
        return CutPrompts()
    cut: dict[str, None] = {}
    groups: dict[str, list[str]] = {}
    for start in range(0, len(long), AT_ONCE):
        part = long[start : start + AT_ONCE]
        for prompt, *all_tokens in zip(part, *(one(part, verbose=False).input_ids for one in tokenizers), strict=True):
            read = list(zip(all_tokens, lengths, strict=True))
            if any(len(tokens) > length for tokens, length in read):
                cut[prompt] = None
            if any(len(tokens) >= length for tokens, length in read):  # the last one ends every text
                seen = [tokens[: length - 1] for tokens, length in read]
                groups.setdefault(sha256(str(seen).encode()), []).append(prompt)
    same_as = {
        prompt: group[0]
        for group in groups.values()
        if any(prompt in cut for prompt in group)  # others are equal for another reason, such as unknown letters
        for prompt in group[1:]
    }
    return CutPrompts(length=min(lengths), cut=tuple(cut), same_as=same_as)


def _read(model: str, prompts: Sequence[str], encoding: PromptEncoding) -> CutPrompts:
    """Return what `cut_prompts` does, of prompts that are not read in the usual way.

    In A1111's syntax, two that differ in a tag or in brackets without effect are one prompt too.
    """
    tokenizers = [_tokenizer_of(model, part) for part in _parts(model)]
    rooms = [tokenizer.model_max_length - 2 for tokenizer in tokenizers]
    cuts = encoding.over_length == "cut"
    cut: list[str] = []
    divided: dict[str, int] = {}
    groups: dict[str, list[str]] = {}
    for prompt in prompts:
        seen: list[object] = []
        for tokenizer, room in zip(tokenizers, rooms, strict=True):
            sections = tokens_of(tokenizer, prompt, encoding)
            tokens = [token for section in sections for token in section]
            if cuts and len(tokens) > room and prompt not in cut[-1:]:
                cut.append(prompt)
            seen.append(tokens[:room] if cuts else sections)
            if (count := len(chunks_of(tokenizer, prompt, encoding))) > 1:
                divided[prompt] = max(count, divided.get(prompt, 0))
        groups.setdefault(sha256(str(seen).encode()), []).append(prompt)
    marked = filter(_has_marks, prompts) if encoding.syntax == "a1111" else ()
    changed = {*cut, *marked}  # others are equal for another reason, such as unknown letters
    same_as = {prompt: group[0] for group in groups.values() if changed.intersection(group) for prompt in group[1:]}
    return CutPrompts(length=min(rooms) + 2, cut=tuple(cut), divided=divided, same_as=same_as)


def _has_marks(prompt: str) -> bool:
    """Return whether A1111's syntax may read something else than the text."""
    return "BREAK" in prompt or any(letter in prompt for letter in "()[]<\\")


def _bytes(prompt: str) -> int:
    """Return a bound of the number of tokens, after what the tokenizer does to a text first."""
    if prompt.isascii():
        return len(prompt)
    return len(unicodedata.normalize("NFC", prompt).lower().encode("utf-8", "replace"))


def _known_parts(model: str) -> Sequence[str]:
    """Return the tokenizers of a folder; one for a name on the hub, which is not asked for short prompts."""
    return _parts(model) if Path(model).exists() else ("tokenizer",)


def _parts(model: str) -> Sequence[str]:
    """Return the names of a model's tokenizers."""
    family, reads = _family_of(model), _reads(model)
    return tuple(part for part in family.tokenizers if _has(model, part)) if reads is None else reads[:1]


def _has(model: str, part: str) -> bool:
    """Return whether a model has a part; those of a family are there but for the optional ones."""
    from thumbtune.models.fitting import pair
    from thumbtune.models.pipeline_files import index_of

    return part not in _family_of(model).optional or any(pair((index_of(model) or {}).get(part)))


def _reads(model: str) -> tuple[str, int] | None:
    """Return the tokenizer that reads most of a text, and how many tokens; None: each reads as many as it says."""
    reads = _family_of(model).reads
    return reads if reads is not None and _has(model, reads[0]) else None


def _family_of(model: str) -> Any:
    from thumbtune.models.families import family_of
    from thumbtune.models.pipeline_files import index_of

    return family_of((index_of(model) or {}).get("_class_name"))


def _length_of(model: str, tokenizer: Any) -> int:
    """Return how many tokens a model reads of a text."""
    reads = _reads(model)
    return tokenizer.model_max_length if reads is None else reads[1]


def _length_in(model: str, part: str) -> int:
    """Return how many tokens a folder's text encoder reads; CLIP's length for a name on the hub."""
    from thumbtune.models.pipeline_files import read_config

    if Path(model).is_file():
        return CLIP_LENGTH
    if Path(model).is_dir() and (reads := _reads(model)) is not None:
        return reads[1]
    length = (read_config(Path(model) / part / "tokenizer_config.json") or {}).get("model_max_length")
    return int(length) if isinstance(length, int | float) and 2 < length < MAX_LENGTH else CLIP_LENGTH  # noqa: PLR2004


@lru_cache(maxsize=4)
def _tokenizer_of(model: str, part: str) -> Any:
    import transformers

    if Path(model).is_file():
        from thumbtune.models.single_file import tokenizer_of

        return tokenizer_of(Path(model), part)
    try:
        kind = transformers.CLIPTokenizer if _reads(model) is None else transformers.AutoTokenizer
        return kind.from_pretrained(model, subfolder=part)
    except Exception as error:  # of files, of the hub, of JSON: transformers raises a dozen kinds
        raise ThumbtuneError(
            f"The tokenizer of the model {model!r} could not be loaded ({reason(error)}); give a folder in diffusers' "
            "layout, a whole checkpoint in one .safetensors file, a hub id that this machine can reach, or "
            "`tiny-emoji-64`.",
            code="model-unloadable",
        ) from error
