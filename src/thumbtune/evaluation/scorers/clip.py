"""CLIP's two towers, and the scores that several scorers compute from their embeddings.

    cosine = f . g / (|f| |g|)      f: the image's embedding, g: its prompt's, [joint]

A tower caches the embeddings of the last images and of prompts, so that scorers that share it run it once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize

from thumbtune.evaluation.scorers.aesthetic import LinearHead

MAX_TOKENS = 77
MAX_CACHED_PROMPTS = 4096  # 1,024 floats each: 16 MB


class Tower:
    """A `CLIPModel` with its tokenizer and its preprocessing.

    Args:
        pixels: images -> [b, 3, 224, 224].
        clean: applied to a prompt before it is split into tokens.
        split_special_tokens: whether a special token written in a prompt is read as plain text.
    """

    def __init__(
        self,
        clip: Any,
        tokenizer: Any,
        pixels: Callable[[Sequence[Image]], Tensor],
        clean: Callable[[str], str] = str,
        split_special_tokens: bool = False,
    ) -> None:
        self.clip = clip.eval()
        self.tokenizer, self.pixels, self.clean = tokenizer, pixels, clean
        self.options: dict[str, Any] = {"split_special_tokens": True} if split_special_tokens else {}
        self._images: tuple[Sequence[Image], Tensor] | None = None
        self._prompts: dict[str, Tensor] = {}

    @torch.no_grad()
    def embed_images(self, images: Sequence[Image]) -> Float[Tensor, "n d"]:
        """Return embeddings of images, not normalised; those of the last call are cached."""
        last = self._images
        if last is None or len(last[0]) != len(images) or any(a is not b for a, b in zip(last[0], images, strict=True)):
            pixels = self.pixels(images).to(self.clip.device, self.clip.dtype)
            self._images = (list(images), embedding(self.clip.get_image_features(pixel_values=pixels)).float().cpu())
        return self._images[1] if self._images else torch.empty(0)

    @torch.no_grad()
    def embed_prompts(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Return embeddings of prompts, not normalised; embedded prompts are cached."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._prompts]
        if len(self._prompts) + len(new) > MAX_CACHED_PROMPTS:
            self._prompts, new = {}, list(dict.fromkeys(prompts))
        if new:
            tokens = self.tokenizer(
                [self.clean(prompt) for prompt in new],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
                **self.options,
            ).to(self.clip.device)
            features = self.clip.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            self._prompts |= dict(zip(new, embedding(features).float().cpu(), strict=True))
        return torch.stack([self._prompts[prompt] for prompt in prompts])

    @property
    def scale(self) -> float:
        """Trained factor of the cosines; about 100."""
        return float(self.clip.logit_scale.detach().exp())


def embedding(features: Any) -> Tensor:
    """Return the embedding in the output of `get_image_features`: a tensor in transformers 4, later an object."""
    return features if isinstance(features, Tensor) else features.pooler_output


def cosines(tower: Tower, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
    """Return the cosine similarity of each image and its prompt, -1 to 1."""
    return (normalize(tower.embed_images(images), dim=-1) * normalize(tower.embed_prompts(prompts), dim=-1)).sum(-1)


def percent(tower: Tower, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
    """Return the CLIP score as used in this literature: 100 x cosine, not clipped at 0, no prefix to the prompt."""
    return 100 * cosines(tower, images, prompts)


def scaled(tower: Tower, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
    """Return PickScore (Kirstain et al. 2023): a logit; a softmax over two images gives the preference."""
    return tower.scale * cosines(tower, images, prompts)


def aesthetic(head: LinearHead) -> Callable[[Tower, Sequence[Image], Sequence[str]], Tensor]:
    """Return the score of an aesthetic predictor, which ignores prompts, as a function of a tower."""
    return lambda tower, images, prompts: head(tower.embed_images(images))
