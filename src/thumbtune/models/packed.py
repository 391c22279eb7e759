"""Latents as tokens of 2 x 2 positions, as FLUX.1 and its kin read them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SIDE = 2


def packed(latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n 4*c"]:
    """Return latents as one token for each 2 x 2 positions, row by row, [b, h/2 * w/2, 4 * channels].

    >>> packed(torch.arange(16.0).reshape(1, 1, 4, 4))[0].int().tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    """
    b, c, h, w = latents.shape
    cells = latents.reshape(b, c, h // SIDE, SIDE, w // SIDE, SIDE).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(b, h // SIDE * (w // SIDE), c * SIDE**2)


def unpacked(tokens: Float[Tensor, "b n d"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    """Return the latents of tokens, [b, channels, height, width]: the inverse of `packed`."""
    b, _, d = tokens.shape
    cells = tokens.reshape(b, height // SIDE, width // SIDE, d // SIDE**2, SIDE, SIDE).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(b, d // SIDE**2, height, width)


def places(height: int, width: int, device: Any) -> Float[Tensor, "n 3"]:
    """Return the place of each token of latents, (0, row, column).

    >>> places(4, 4, "cpu").tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    """
    rows, columns = torch.arange(height // SIDE, device=device), torch.arange(width // SIDE, device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([torch.zeros_like(y), y, x], dim=-1).reshape(-1, 3).float()
