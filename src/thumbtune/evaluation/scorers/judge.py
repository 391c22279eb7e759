"""The bundled judge: a small dual encoder (CLIP's classes) that says how well an image shows what a prompt asks.

It knows the concepts of the bundled model and was trained on real emoji alone: no tuning run ever sees it. It is the
offline stand-in for the scorers of the paper, for emoji images only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

TOKENS = 12  # the judge is asked about short prompts
NAME = "faithfulness"
WHAT = "How sure the bundled judge is that the image shows what its prompt asks, against 47 other things (0 to 1)."


def pixels(images: Sequence[Image.Image], size: int) -> Float[Tensor, "b 3 size size"]:
    """RGB in -1..1, size x size."""
    small = [im.convert("RGB").resize((size, size), Image.Resampling.BILINEAR) for im in images]
    stack = np.stack([np.asarray(im) for im in small])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1


class Judge:
    """Load once, score many. `concepts` are the names that it tells apart."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        self.clip: Any = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder)
        self.concepts: list[str] = json.loads((folder / "concepts.json").read_text())
        self._concepts = self._texts(self.concepts)

    @torch.no_grad()
    def _texts(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        tokens = self.tokenizer(
            list(prompts), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        )
        features = self.clip.get_text_features(input_ids=tokens.input_ids).pooler_output
        return torch.nn.functional.normalize(features, dim=-1)

    @torch.no_grad()
    def _images(self, images: Sequence[Image.Image]) -> Float[Tensor, "n d"]:
        size = self.clip.config.vision_config.image_size
        parts = pixels(images, size).split(64)
        features = [self.clip.get_image_features(pixel_values=part).pooler_output for part in parts]
        return torch.nn.functional.normalize(torch.cat(features), dim=-1)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """The chance, in 0..1, that each image shows its prompt rather than any other known concept."""
        scale = self.clip.logit_scale.exp().detach()
        seen = self._images(images)
        asked = scale * (seen * self._texts([self.asked(p) for p in prompts])).sum(1, keepdim=True)
        others = scale * seen @ self._concepts.T
        same = torch.tensor([[self.mentions(prompt, name) for name in self.concepts] for prompt in prompts])
        logits = torch.cat([asked, others.masked_fill(same, -torch.inf)], dim=1)
        return logits.softmax(1)[:, 0]

    def names(self, images: Sequence[Image.Image], top: int = 1) -> list[list[str]]:
        """The likeliest concepts of each image, best first."""
        best = (self._images(images) @ self._concepts.T).topk(top, dim=1).indices
        return [[self.concepts[i] for i in row] for row in best.tolist()]

    def knows(self, prompt: str) -> bool:
        """Whether a prompt names any of the concepts."""
        return any(self.mentions(prompt, concept) for concept in self.concepts)

    def asked(self, prompt: str) -> str:
        """What a prompt asks for: the longest known concept in it, or else the prompt without its article."""
        named = [concept for concept in self.concepts if self.mentions(prompt, concept)]
        return max(named, key=len, default=self.plain(prompt))

    @staticmethod
    def plain(prompt: str) -> str:
        """A prompt without its article: the judge learnt bare names ("red apple"), and knows no others."""
        first, _, rest = prompt.strip().lower().partition(" ")
        return rest if first in ("a", "an", "the") and rest else prompt.strip().lower()

    @staticmethod
    def mentions(prompt: str, concept: str) -> bool:
        """Whether a prompt asks for a concept: its words, as whole words."""
        return f" {concept} " in f" {prompt.lower().replace(',', ' , ')} "
