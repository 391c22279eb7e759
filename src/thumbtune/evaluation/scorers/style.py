"""The bundled judge of style: two small ResNets (transformers' class) that name the style of an image, of five.

They learnt apart, from real emoji, one of them also from what the bundled autoencoder makes of these, and err on
different images: their chances are averaged. It is for emoji images only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from thumbtune.evaluation.scorers.judge import pixels

SIZE = 64  # what a style is made of, lines and shading, is lost in smaller images


class StyleJudge:
    """Load once, look at many. `styles` are the names that it tells apart."""

    def __init__(self, folder: Path) -> None:
        from transformers import ResNetForImageClassification

        self.networks: list[Any] = [
            ResNetForImageClassification.from_pretrained(one.parent, torch_dtype=torch.float32).eval()
            for one in sorted(folder.glob("*/config.json"))
        ]
        self.styles: list[str] = list(self.networks[0].config.id2label.values())

    @torch.no_grad()
    def names(self, images: Sequence[Image.Image]) -> list[str]:
        """The likeliest style of each image, seen as it is and in a mirror: what both views agree on is surer."""
        seen = pixels(images, SIZE)
        chances = [torch.cat([self._chances(part) for part in view.split(64)]) for view in (seen, seen.flip(-1))]
        return [self.styles[i] for i in sum(chances).argmax(1).tolist()]  # type: ignore[union-attr]

    def _chances(self, part: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b styles"]:
        each = [one(pixel_values=enlarged(part, one.config.image_size)).logits.softmax(1) for one in self.networks]
        return torch.stack(each).mean(0)


def enlarged(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 side side"]:
    """Images as a network was trained on them: enlarged, they lose less of thin lines in its first layers."""
    return images if images.shape[-1] == side else interpolate(images, size=side, mode="bilinear")
