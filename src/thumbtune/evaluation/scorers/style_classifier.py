"""The bundled style classifier: two small ResNets (transformers' class) that name one of five emoji styles.

p(style | image)   the mean of one network's softmax over the image and its mirror image
log-odds           log p - log (1 - p)                                     by one network alone

The two were trained separately on real emoji, one of them also on emoji reconstructed by the bundled autoencoder. They
err on different images, so `names` averages their probabilities. The log-odds keep them apart: one network can give
the labels, and the other one judge. It is for emoji images only.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from thumbtune.evaluation.scorers.faithfulness import pixels

SIZE = 64  # smaller images lose the lines and shading that make a style
LARGE, SMALL = "large", "small"  # the folders of the networks
STYLES = ("cartoon", "classic", "soft 3d", "flat", "line art")
IMAGES_AT_ONCE = 64


def log_mean(image: Float[Tensor, "n styles"], mirrored: Float[Tensor, "n styles"]) -> Float[Tensor, "n styles"]:
    """Return the log of the mean of two probabilities that are given as logs."""
    return torch.logaddexp(image, mirrored) - math.log(2)


def log_odds_of(log_probabilities: Float[Tensor, "n styles"], wanted: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return log p - log (1 - p) of the wanted style of each image, where 1 - p is the sum over the other styles."""
    is_wanted = torch.zeros_like(log_probabilities, dtype=torch.bool).scatter(1, wanted[:, None], True)
    others = log_probabilities.masked_fill(is_wanted, -torch.inf).logsumexp(1)
    return log_probabilities.gather(1, wanted[:, None])[:, 0] - others


class StyleClassifier:
    """The two networks, and `styles`, the names that they distinguish."""

    def __init__(self, folder: Path) -> None:
        from transformers import ResNetForImageClassification

        self.by_name: dict[str, Any] = {
            config.parent.name: ResNetForImageClassification.from_pretrained(config.parent, dtype=torch.float32)
            .eval()
            .requires_grad_(False)
            for config in sorted(folder.glob("*/config.json"))
        }
        self.networks: list[Any] = list(self.by_name.values())
        self.styles: list[str] = list(self.networks[0].config.id2label.values())

    @torch.no_grad()
    def names(self, images: Sequence[Image.Image]) -> list[str]:
        """Return the likeliest style of each image, by the sum over the image and its mirror image."""
        batch = pixels(images, SIZE)
        views = (batch, batch.flip(-1))
        probabilities = [
            torch.cat([self._probabilities(part) for part in view.split(IMAGES_AT_ONCE)]) for view in views
        ]
        return [self.styles[i] for i in sum(probabilities).argmax(1).tolist()]  # type: ignore[union-attr]

    @torch.no_grad()
    def log_odds(
        self, images: Sequence[Image.Image], style: str | Sequence[str], network: str = LARGE
    ) -> Float[Tensor, "n"]:
        """Return the log-odds of a style, or of each image's own style, by one network; not clipped.

        Args:
            images: of any size.
            style: one of `styles`, or one for each image.
            network: `large` or `small`.
        """
        if not images:
            return torch.zeros(0)
        return self.log_odds_of_pixels(pixels(images, SIZE), style, network)

    def log_odds_of_pixels(
        self, images: Float[Tensor, "n 3 h w"], style: str | Sequence[str], network: str = LARGE
    ) -> Float[Tensor, "n"]:
        """Return the log-odds of images as RGB in -1..1, differentiable in them; arguments as `log_odds`."""
        styles = [style] * len(images) if isinstance(style, str) else list(style)
        wanted = torch.tensor([self.styles.index(name) for name in styles])
        parts = images.split(IMAGES_AT_ONCE)
        return log_odds_of(torch.cat([self._log_probabilities(part, network) for part in parts]), wanted)

    def _log_probabilities(self, part: Float[Tensor, "b 3 h w"], network: str) -> Float[Tensor, "b styles"]:
        one = self.by_name[network]
        views = (enlarge(view, one.config.image_size) for view in (part, part.flip(-1)))
        return log_mean(*(one(pixel_values=view).logits.log_softmax(1) for view in views))

    def _probabilities(self, part: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b styles"]:
        per_network = [
            network(pixel_values=enlarge(part, network.config.image_size)).logits.softmax(1)
            for network in self.networks
        ]
        return torch.stack(per_network).mean(0)


def enlarge(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 side side"]:
    """Return images at the size that a network was trained on; larger images keep thin lines in its first layers."""
    return images if images.shape[-1] == side else interpolate(images, size=side, mode="bilinear")
