"""Train the bundled model's tokenizer: CLIP's kind of byte-level BPE, on emoji names and keywords."""

import json
import tarfile
from pathlib import Path

from transformers import CLIPTokenizer

from base_model.sets import fetch
from base_model.vocabulary import CONCEPTS, STYLES

SIZE = 2048
LENGTH = 24  # maximum tokens of a prompt, with start and end
START, END = "<|startoftext|>", "<|endoftext|>"


def corpus(data: Path) -> list[str]:
    """Return every English emoji label and keyword, the concepts and the style words."""
    archive = fetch("emojibase-data", "17.0.0", data)
    with tarfile.open(archive) as tar:
        rows = json.load(tar.extractfile("package/en/data.json"))  # type: ignore[arg-type]
    texts = [row["label"].lower() for row in rows]
    texts += [tag.lower() for row in rows for tag in row.get("tags", [])]
    ours = [f"a {concept}, {style} an drawing picture of the" for concept in CONCEPTS for style in STYLES]
    return texts + ours


def bytes_alphabet() -> list[str]:
    """Return the 256 printable characters that stand for bytes in byte-level BPE, in order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(spare)) for b in range(256)]


def learn(texts: list[str]) -> CLIPTokenizer:
    letters = bytes_alphabet()
    tokens = [*letters, *(letter + "</w>" for letter in letters), START, END]
    seedling = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])
    grown = seedling.train_new_from_iterator(texts, SIZE, initial_alphabet=letters)
    return grown


def tokenizer(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH)


if __name__ == "__main__":
    learnt = learn(corpus(Path("build/sets")))
    learnt.model_max_length = LENGTH
    learnt.save_pretrained("build/tokenizer")
    for text in ("a red apple, line art", "grinning face", "Zyzzyva café 日本"):
        print(text, learnt.tokenize(text), learnt(text).input_ids)
