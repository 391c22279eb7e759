"""Training images: icons with their transparency, laid on a page, as tensors."""

from collections import Counter

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from base_model.vocabulary import CONCEPTS, PAGES, SMALL, Look, slug

Icon = np.ndarray  # uint8 [64, 64, 4]
Sets = dict[str, dict[str, Icon]]
WHITE = (255, 255, 255)


def laid(icon: Icon, look: Look = Look()) -> np.ndarray:  # noqa: B008  # a frozen value
    """Return an icon on its page, uint8 [64, 64, 3]."""
    image = Image.fromarray(np.asarray(icon))
    side = image.width
    page = Image.new("RGBA", (side, side), PAGES.get(look.page, WHITE))
    if look.small:
        little = round(SMALL * side)
        image = image.resize((little, little), Image.Resampling.LANCZOS)
    edge = (side - image.width) // 2
    page.alpha_composite(image, (edge, edge))
    return np.asarray(page.convert("RGB"))


def to_tensor(images: list[np.ndarray]) -> Tensor:
    """Return uint8 images as [b, 3, 64, 64] in -1..1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def everything(sets: Sets) -> list[np.ndarray]:
    """Return every image of every set, on white."""
    return [laid(icon) for named in sets.values() for icon in named.values()]


def vocabulary(sets: Sets, concepts: list[str] | None = None) -> list[tuple[str, str, Icon]]:
    """Return (concept, style, icon) of the concepts, in every set that contains them."""
    return [
        (concept, style, named[slug(concept)])
        for style, named in sets.items()
        for concept in concepts or CONCEPTS
        if slug(concept) in named
    ]


def common(sets: Sets) -> list[str]:
    """Return the names of icons in at least three of the sets."""
    count = Counter(name for named in sets.values() for name in named)
    return sorted(name.replace("-", " ") for name, times in count.items() if times >= 3)


def augment(images: Tensor, generator: torch.Generator, tint: float, shift: int = 3) -> Tensor:
    """Return images: half mirrored, all moved by up to `shift` pixels, a share `tint` of them coloured."""
    b = len(images)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    images = torch.where((draw(b, 1, 1, 1) < 0.5), images.flip(-1), images)
    padded = torch.nn.functional.pad(images, [shift] * 4, mode="replicate")
    moves = (draw(b, 2) * (2 * shift + 1)).long()
    size = images.shape[-1]
    images = torch.stack([p[:, y : y + size, x : x + size] for p, (y, x) in zip(padded, moves.tolist(), strict=True)])
    # multiply the channels like coloured light, so that pages of any colour occur
    light = 0.3 + 0.7 * draw(b, 3, 1, 1)
    tinted = (images + 1) * light - 1
    return torch.where(draw(b, 1, 1, 1) < tint, tinted, images)
