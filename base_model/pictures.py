"""Batches of training pictures, augmented, from the rendered sets."""

import numpy as np
import torch
from torch import Tensor

from base_model.vocabulary import CONCEPTS, slug

Sets = dict[str, dict[str, np.ndarray]]


def to_tensor(pictures: list[np.ndarray]) -> Tensor:
    """uint8 pictures -> [b, 3, 64, 64] in -1..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def everything(sets: Sets) -> list[np.ndarray]:
    return [picture for named in sets.values() for picture in named.values()]


def vocabulary(sets: Sets) -> list[tuple[str, str, np.ndarray]]:
    """(concept, style, picture) for the concepts that the bundled model learns."""
    return [
        (concept, style, named[slug(concept)])
        for style, named in sets.items()
        for concept in CONCEPTS
        if slug(concept) in named
    ]


def augment(images: Tensor, generator: torch.Generator, tint: float, shift: int = 3) -> Tensor:
    """Mirror half of the pictures, move all by up to `shift` pixels, colour a share `tint` of them."""
    b = len(images)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    images = torch.where((draw(b, 1, 1, 1) < 0.5), images.flip(-1), images)
    padded = torch.nn.functional.pad(images, [shift] * 4, value=1.0)
    moves = (draw(b, 2) * (2 * shift + 1)).long()
    size = images.shape[-1]
    images = torch.stack([p[:, y : y + size, x : x + size] for p, (y, x) in zip(padded, moves.tolist(), strict=True)])
    # multiply the channels, as coloured light would, so that any colour of page can be met later
    light = 0.3 + 0.7 * draw(b, 3, 1, 1)
    tinted = (images + 1) * light - 1
    return torch.where(draw(b, 1, 1, 1) < tint, tinted, images)
