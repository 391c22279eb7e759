"""A batch: images at one noise level each. Images of a pair may have two shapes; all others in a batch have one."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thumbtune.models.process import Latents, Times
from thumbtune.models.protocol import Condition


class Ragged:
    """Rows of several shapes, which are chosen and moved as those of one tensor are."""

    def __init__(self, rows: Sequence[Tensor]) -> None:
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, keep: Tensor) -> "Tensor | Ragged":
        return stacked([row for row, kept in zip(self.rows, keep.tolist(), strict=True) if kept])

    def to(self, device: torch.device) -> "Ragged":
        """Return the same rows on a device."""
        return Ragged([row.to(device) for row in self.rows])


def stacked(rows: Sequence[Tensor]) -> Tensor | Ragged:
    """Return rows as one tensor where they have one shape; no row is an empty tensor."""
    if not rows:
        return torch.zeros(0)
    return torch.stack(list(rows)) if len({row.shape for row in rows}) == 1 else Ragged(rows)


def positions(shapes: Iterable[Sequence[int]]) -> Int[Tensor, "b"]:
    """Return the positions of each latent, height * width (* frames), of its shape [channels, ...].

    >>> positions([(4, 64, 64), (16, 5, 8, 8)])
    tensor([4096,  320])
    """
    return torch.tensor([math.prod(shape[1:]) for shape in shapes])


@dataclass(frozen=True)
class Batch:
    """Images at one noise level each, ready to be denoised. All tensors have one row per image.

    paired: rows 2i and 2i + 1 are the liked and the disliked image of a pair
    draw:   the number of each row's image, noise, time and condition together, where these repeat; None: all are new
    """

    latents: Latents | Ragged
    condition: Condition
    noise: Latents | Ragged
    t: Times
    liked: Bool[Tensor, "b"]
    weight: Float[Tensor, "b"]
    grade: Float[Tensor, "b"] | None = None
    paired: bool = False
    draw: Int[Tensor, "b"] | None = None

    def __len__(self) -> int:
        return len(self.liked)

    @property
    def partner(self) -> Int[Tensor, "b"] | None:
        """Return the row of the other image of each pair; None without pairs."""
        return torch.arange(len(self), device=self.liked.device) ^ 1 if self.paired else None

    def whole(self, keep: Bool[Tensor, "b"]) -> Bool[Tensor, "b"]:
        """Return `keep`, set to false for rows whose partner is not in it."""
        partner = self.partner
        return keep if partner is None else keep & keep[partner]

    def only(self, keep: Bool[Tensor, "b"]) -> "Batch":
        """Return the batch of the rows where `keep` is true. Keep both images of a pair, or neither."""
        return self._changed(lambda x: x[keep])

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on a device."""
        return self._changed(lambda x: x.to(device))

    def of_each_shape(self) -> Iterator[tuple[list[int], "Batch"]]:
        """Yield the rows of each shape, and the batch of them alone."""
        if not isinstance(self.latents, Ragged):
            yield list(range(len(self))), self
            return
        shapes = [row.shape for row in self.latents.rows]
        for shape in dict.fromkeys(shapes):
            keep = [other == shape for other in shapes]
            rows = [row for row, kept in enumerate(keep) if kept]
            yield rows, self.only(torch.tensor(keep, device=self.liked.device))

    def _changed(self, change: Callable[..., Tensor]) -> "Batch":
        """Return a batch with the same change made to every tensor."""
        return Batch(
            latents=change(self.latents),
            condition={name: change(value) for name, value in self.condition.items()},
            noise=change(self.noise),
            t=change(self.t),
            liked=change(self.liked),
            weight=change(self.weight),
            grade=None if self.grade is None else change(self.grade),
            paired=self.paired,
            draw=None if self.draw is None else change(self.draw),
        )
