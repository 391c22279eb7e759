"""The bundled style classifier: two small ResNets (transformers' class) that name one of five emoji styles.

The two were trained separately on real emoji, one of them also on emoji reconstructed by the bundled autoencoder. They
err on different images, so their probabilities are averaged. It is for emoji images only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from thumbtune.evaluation.scorers.faithfulness import pixels

SIZE = 64  # smaller images lose the lines and shading that make a style


class StyleClassifier:
    """The two networks, and `styles`, the names that they distinguish."""

    def __init__(self, folder: Path) -> None:
        from transformers import ResNetForImageClassification

        self.networks: list[Any] = [
            ResNetForImageClassification.from_pretrained(config.parent, torch_dtype=torch.float32).eval()
            for config in sorted(folder.glob("*/config.json"))
        ]
        self.styles: list[str] = list(self.networks[0].config.id2label.values())

    @torch.no_grad()
    def names(self, images: Sequence[Image.Image]) -> list[str]:
        """Return the likeliest style of each image, by the sum over the image and its mirror image."""
        batch = pixels(images, SIZE)
        views = (batch, batch.flip(-1))
        probabilities = [torch.cat([self._probabilities(part) for part in view.split(64)]) for view in views]
        return [self.styles[i] for i in sum(probabilities).argmax(1).tolist()]  # type: ignore[union-attr]

    def _probabilities(self, part: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b styles"]:
        per_network = [
            network(pixel_values=enlarge(part, network.config.image_size)).logits.softmax(1)
            for network in self.networks
        ]
        return torch.stack(per_network).mean(0)


def enlarge(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 side side"]:
    """Return images at the size that a network was trained on; larger images keep thin lines in its first layers."""
    return images if images.shape[-1] == side else interpolate(images, size=side, mode="bilinear")
