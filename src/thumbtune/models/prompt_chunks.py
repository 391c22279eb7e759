"""Cut a prompt into chunks that a text encoder can read: 75 tokens each, between a token that begins and one that ends.

A1111 divides a prompt so: at a BREAK, and where a chunk is full. If a comma stands in the last 20 tokens of a full
chunk, what follows it moves to the next chunk, so that a phrase stays whole. ComfyUI has chunks of the same size, but
moves the last word and not the phrase. A prompt of 75 tokens or fewer is one chunk, of the same tokens in all programs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from thumbtune.models.prompt_syntax import sections_of

MOVED = 20  # tokens after a comma that move to the next chunk, at most; the default of A1111
COMMA = ",</w>"
Weighted = tuple[int, float]  # a token and its weight


@dataclass(frozen=True, kw_only=True)
class PromptEncoding:
    """How prompts are read, in training, measuring and generating alike.

    over_length: what happens to tokens beyond those that the text encoder reads at once: cut, or read in chunks
    syntax:      plain: every character is text; a1111: weights, BREAK and tags, see `prompt_syntax`
    clip_skip:   the layer of the text encoder, 1 for the last one, 2 for the one before; None: the model's own
    """

    over_length: Literal["cut", "chunks"] = "cut"
    syntax: Literal["plain", "a1111"] = "plain"
    clip_skip: int | None = None

    @property
    def is_usual(self) -> bool:
        """Return whether prompts are read as diffusers reads them."""
        return self == PromptEncoding()

    @property
    def in_words(self) -> str:
        """Return the options as people write them, without those that are the model's own."""
        skip = "" if self.clip_skip is None else f", clip skip {self.clip_skip}"
        return f"{self.over_length}, {self.syntax}{skip}"

    @property
    def tag(self) -> str:
        """Return a text that differs between ways of reading, for hashes; "" for the usual one."""
        return "" if self.is_usual else f" prompts {self.over_length} {self.syntax} {self.clip_skip}"


def encoding_with(options: Mapping[str, Any]) -> PromptEncoding:
    """Return a way of reading prompts with some options by name; None leaves one at its default."""
    return PromptEncoding(**{name: value for name, value in options.items() if value is not None})


@dataclass(frozen=True)
class Chunk:
    """The tokens of one pass through a text encoder, as many as it reads, and the weight of each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def is_weighted(self) -> bool:
        """Return whether a weight differs from 1."""
        return any(weight != 1 for weight in self.weights)


def chunks_of(tokenizer: Any, prompt: str, encoding: PromptEncoding) -> list[Chunk]:
    """Return the chunks of a prompt, one or more; exactly one if longer prompts are cut."""
    room = tokenizer.model_max_length - 2
    sections = tokens_of(tokenizer, prompt, encoding)
    if encoding.over_length == "cut":
        sections = [[token for section in sections for token in section][:room]]
    comma = tokenizer.convert_tokens_to_ids(COMMA)
    comma = None if comma == tokenizer.unk_token_id else comma
    parts = [part for section in sections for part in _filled(section, room, comma)]
    return [_chunk(tokenizer, part) for part in parts]


def empty_chunk(tokenizer: Any) -> Chunk:
    """Return the chunk of the empty prompt."""
    return _chunk(tokenizer, [])


def tokens_of(tokenizer: Any, prompt: str, encoding: PromptEncoding) -> list[list[Weighted]]:
    """Return the weighted tokens of a prompt, without those that begin and end it, in a list for each section."""
    sections = sections_of(prompt) if encoding.syntax == "a1111" else [[(prompt, 1.0)]]
    tokens = [[(token, weight) for text, weight in section for token in _ids(tokenizer, text)] for section in sections]
    return tokens if tokens[-1] or len(tokens) == 1 else tokens[:-1]  # a BREAK at the end begins nothing


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False).input_ids


def _filled(tokens: Sequence[Weighted], room: int, comma: int | None) -> list[list[Weighted]]:
    """Return the tokens of a section in parts of at most `room`; of an empty section, one empty part."""
    parts: list[list[Weighted]] = [[]]
    last_comma = -1  # its place in the last part
    for token in tokens:
        part = parts[-1]
        if token[0] == comma:
            last_comma = len(part)
        elif len(part) == room and last_comma != -1 and room - last_comma <= MOVED:
            parts[-1], moved = part[: last_comma + 1], part[last_comma + 1 :]
            parts.append(moved)
            last_comma = -1
        if len(parts[-1]) == room:
            parts.append([])
            last_comma = -1
        parts[-1].append(token)
    return parts


def _chunk(tokenizer: Any, part: Sequence[Weighted]) -> Chunk:
    rest = tokenizer.model_max_length - 2 - len(part)
    ids = (tokenizer.bos_token_id, *(token for token, _ in part), tokenizer.eos_token_id)
    weights = (1.0, *(weight for _, weight in part), 1.0)
    return Chunk(ids + (tokenizer.pad_token_id,) * rest, weights + (1.0,) * rest)
