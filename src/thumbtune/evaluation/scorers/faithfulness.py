"""The bundled judge, the scorer `faithfulness`: a small CLIP that scores how well an emoji shows its prompt.

It knows the concepts of the bundled model and was trained on real emoji only; no tuning run is trained on it. It
replaces the paper's scorers offline, for emoji images only. It was trained on one name of each concept; other words for
it, which the bundled model knows too (`thumbtune concepts`), are replaced by that name before scoring.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

MAX_TOKENS = 12  # the judge was trained on short prompts
NAME = "faithfulness"
VOCABULARY = Path(__file__).parents[2] / "bundled" / "vocabulary.json"
WORD = re.compile(r"\w+(?:['-]\w+)*")


def pixels(images: Sequence[Image.Image], size: int) -> Float[Tensor, "b 3 size size"]:
    """Return images as RGB in -1..1, size x size."""
    small = [im.convert("RGB").resize((size, size), Image.Resampling.BILINEAR) for im in images]
    stack = np.stack([np.asarray(im) for im in small])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def names_of_words() -> Mapping[str, str]:
    """Return the name of the concept for each word or words that mean it; a name means itself."""
    concepts = json.loads(VOCABULARY.read_text(encoding="utf-8"))["concepts"]
    return {word: name for name, words in concepts.items() for word in (name, *words)}


def with_names(prompt: str) -> str:
    """Return a prompt in lower case in which other words for a concept are replaced by its name.

    Of several phrases that begin with one word, the longest counts: "red apple" is a name, and no "red" and "apple".

    >>> with_names("A small Puppy, flat"), with_names("a red apple"), with_names("a pine tree")
    ('a small dog face, flat', 'a red apple', 'a evergreen tree')
    """
    prompt, names = prompt.lower(), names_of_words()
    words, parts, at, end = list(WORD.finditer(prompt)), list[str](), 0, 0
    longest = max(len(phrase.split()) for phrase in names)
    while at < len(words):
        spans = [(words[at].start(), words[last].end()) for last in range(at, min(at + longest, len(words)))]
        length = next((n for n in range(len(spans), 0, -1) if prompt[slice(*spans[n - 1])] in names), 1)
        start, stop = spans[length - 1]
        parts += [prompt[end:start], names.get(prompt[start:stop], prompt[start:stop])]
        at, end = at + length, stop
    return "".join([*parts, prompt[end:]])


class FaithfulnessJudge:
    """The judge's network, its tokenizer, and `concepts`, the names that it distinguishes."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        self.clip: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder)
        self.concepts: list[str] = json.loads((folder / "concepts.json").read_text())
        self._concepts = self._embed_texts(self.concepts)

    @torch.no_grad()
    def _embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )
        features = self.clip.get_text_features(input_ids=tokens.input_ids).pooler_output
        return torch.nn.functional.normalize(features, dim=-1)

    @torch.no_grad()
    def _embed_images(self, images: Sequence[Image.Image]) -> Float[Tensor, "n d"]:
        size = self.clip.config.vision_config.image_size
        parts = pixels(images, size).split(64)
        features = [self.clip.get_image_features(pixel_values=part).pooler_output for part in parts]
        return torch.nn.functional.normalize(torch.cat(features), dim=-1)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """Return the probability, in 0..1, that each image shows its prompt rather than another known concept."""
        prompts = [with_names(prompt) for prompt in prompts]
        scale = self.clip.logit_scale.exp().detach()
        embedded = self._embed_images(images)
        requested = self._embed_texts([self.requested_concept(prompt) for prompt in prompts])
        own = scale * (embedded * requested).sum(1, keepdim=True)
        others = scale * embedded @ self._concepts.T
        same = torch.tensor([[self.mentions(prompt, name) for name in self.concepts] for prompt in prompts])
        logits = torch.cat([own, others.masked_fill(same, -torch.inf)], dim=1)
        return logits.softmax(1)[:, 0]

    def names(self, images: Sequence[Image.Image], top: int = 1) -> list[list[str]]:
        """Return the `top` likeliest concepts of each image, best first."""
        best = (self._embed_images(images) @ self._concepts.T).topk(top, dim=1).indices
        return [[self.concepts[i] for i in row] for row in best.tolist()]

    def knows(self, prompt: str) -> bool:
        """Return whether the prompt mentions a known concept."""
        named = with_names(prompt)
        return any(self.mentions(named, concept) for concept in self.concepts)

    def requested_concept(self, prompt: str) -> str:
        """Return the longest known concept in the prompt, or the prompt without its article if there is none."""
        prompt = with_names(prompt)
        mentioned = [concept for concept in self.concepts if self.mentions(prompt, concept)]
        return max(mentioned, key=len, default=self.without_article(prompt))

    @staticmethod
    def without_article(prompt: str) -> str:
        """Return the prompt without its article; the judge was trained on bare names ("red apple")."""
        first, _, rest = prompt.strip().lower().partition(" ")
        return rest if first in ("a", "an", "the") and rest else prompt.strip().lower()

    @staticmethod
    def mentions(prompt: str, concept: str) -> bool:
        """Return whether the prompt contains the concept as whole words."""
        return f" {concept} " in f" {prompt.lower().replace(',', ' , ')} "
