"""CLIP's tokenizer, whose 48,894 merges ride in the package; its vocabulary follows from them."""

import gzip
from pathlib import Path
from typing import Any

MERGES = Path(__file__).parents[1] / "bundled" / "clip" / "merges.txt.gz"
CLIP_LENGTH, WORDS = 77, 49_408
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def _letters() -> list[str]:
    """Return the 256 letters that stand for bytes: those that can be printed first, then the others."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def clip_tokenizer(pad: str = END) -> Any:
    """Return CLIP's tokenizer, as all of Stable Diffusion 1.x, 2.x and XL use it.

    pad: what fills a short text.
    """
    from transformers import CLIPTokenizer

    merges: Any = [tuple(line.split()) for line in gzip.decompress(MERGES.read_bytes()).decode().splitlines()]
    letters = _letters()
    words = [*letters, *(letter + WORD_END for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocab = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(
        vocab, merges, unk_token=END, bos_token=START, eos_token=END, pad_token=pad, model_max_length=CLIP_LENGTH
    )
