"""CLIP's two towers, and what several scorers read off them.

    cosine = f . g / (|f| |g|)      f: the image's embedding, g: its prompt's, [joint]

A tower remembers the last images and the prompts that it has embedded: scorers that share it run it once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize

from thumbtune.evaluation.scorers.aesthetic import Line

TOKENS = 77
PROMPTS_KEPT = 4096  # of 1,024 floats each: 16 MB


class Tower:
    """A `CLIPModel` with its tokenizer and its way to look at images.

    Args:
        pixels: images -> [b, 3, 224, 224].
        clean: what is done to a prompt before it is cut into tokens.
    """

    def __init__(
        self,
        clip: Any,
        tokenizer: Any,
        pixels: Callable[[Sequence[Image]], Tensor],
        clean: Callable[[str], str] = str,
        whole_words: bool = False,
    ) -> None:
        self.clip = clip.eval()
        self.tokenizer, self.pixels, self.clean = tokenizer, pixels, clean
        self.options: dict[str, Any] = {"split_special_tokens": True} if whole_words else {}
        self._images: tuple[Sequence[Image], Tensor] | None = None
        self._prompts: dict[str, Tensor] = {}

    @torch.no_grad()
    def images(self, images: Sequence[Image]) -> Float[Tensor, "n d"]:
        """Embeddings of images, of any length; those of the last call are remembered."""
        last = self._images
        if last is None or len(last[0]) != len(images) or any(a is not b for a, b in zip(last[0], images, strict=True)):
            pixels = self.pixels(images).to(self.clip.device, self.clip.dtype)
            self._images = (list(images), embedding(self.clip.get_image_features(pixel_values=pixels)).float().cpu())
        return self._images[1] if self._images else torch.empty(0)

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of prompts; a prompt that was asked for before is not embedded again."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._prompts]
        if len(self._prompts) + len(new) > PROMPTS_KEPT:
            self._prompts, new = {}, list(dict.fromkeys(prompts))
        if new:
            tokens = self.tokenizer(
                [self.clean(prompt) for prompt in new],
                padding=True,
                truncation=True,
                max_length=TOKENS,
                return_tensors="pt",
                **self.options,
            ).to(self.clip.device)
            found = self.clip.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            self._prompts |= dict(zip(new, embedding(found).float().cpu(), strict=True))
        return torch.stack([self._prompts[prompt] for prompt in prompts])

    @property
    def scale(self) -> float:
        """What the model was trained to multiply cosines by; about 100."""
        return float(self.clip.logit_scale.detach().exp())


def embedding(found: Any) -> Tensor:
    """What `get_image_features` and its like give: the embedding itself (transformers 4), or an object with it."""
    return found if isinstance(found, Tensor) else found.pooler_output


def cosines(tower: Tower, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
    """How near each image is to its prompt, -1 to 1."""
    return (normalize(tower.images(images), dim=-1) * normalize(tower.texts(prompts), dim=-1)).sum(-1)


def percent(tower: Tower, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
    """The CLIP score as this literature has it: 100 cosines, neither cut at 0 nor with words before the prompt."""
    return 100 * cosines(tower, images, prompts)


def scaled(tower: Tower, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
    """PickScore (Kirstain et al. 2023): the logit, of which a softmax over two images says which is preferred."""
    return tower.scale * cosines(tower, images, prompts)


def along(line: Line) -> Callable[[Tower, Sequence[Image], Sequence[str]], Tensor]:
    """An aesthetic predictor: prompts are not looked at."""
    return lambda tower, images, prompts: line(tower.images(images))
