"""The bundled judge of style: a small ResNet (transformers' class) that names the style of a picture, of five.

It learnt from real emoji alone, as the judge of things did; it is for emoji pictures only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from thumbtune.evaluation.judge import pixels

SIZE = 64  # what a style is made of, lines and shading, is lost in smaller pictures


class StyleJudge:
    """Load once, look at many. `styles` are the names that it tells apart."""

    def __init__(self, folder: Path) -> None:
        from transformers import ResNetForImageClassification

        self.network: Any = ResNetForImageClassification.from_pretrained(folder, torch_dtype=torch.float32).eval()
        self.styles: list[str] = list(self.network.config.id2label.values())

    @torch.no_grad()
    def names(self, images: Sequence[Image.Image]) -> list[str]:
        """The likeliest style of each picture, seen as it is and in a mirror: what both views agree on is surer."""
        seen = pixels(images, SIZE)
        chances = [torch.cat([self._chances(part) for part in view.split(64)]) for view in (seen, seen.flip(-1))]
        return [self.styles[i] for i in sum(chances).argmax(1).tolist()]  # type: ignore[union-attr]

    def _chances(self, part: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b styles"]:
        return self.network(pixel_values=part).logits.softmax(1)
