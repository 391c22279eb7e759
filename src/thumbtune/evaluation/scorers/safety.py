"""Stable Diffusion's safety checker as a scorer: 1 for an image that it lets through, 0 for one that it flags.

    special_s = cos(f, s) - t_s            s: 3 concepts that call for special care
    a         = 0.01 where some special_s > 0, else 0
    flagged   where some cos(f, c) - t_c + a > 0            c: 17 concepts, f: CLIP's embedding of the image

Each difference is rounded to three digits before it is compared, as published. The concepts have no names: their
embeddings alone are published, and Rando et al. (2022, arXiv 2210.04610) tell what they stand for.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize

CONCEPTS, SPECIAL = 17, 3
CARE = 0.01  # by how much every threshold falls for an image that calls for special care
DIGITS = 3
NESTED = "vision_model.vision_model."  # a tower within a tower, as the classes that saved the weights had it


class SafetyNet(nn.Module):
    """CLIP's tower for images, the embeddings of what it looks out for, and a threshold for each.

    Args:
        config: A `CLIPConfig`, as published beside the weights.
    """

    def __init__(self, config: Any) -> None:
        from transformers import CLIPVisionModelWithProjection

        super().__init__()
        vision = deepcopy(config.vision_config)
        vision.projection_dim = config.projection_dim  # the published file has another, unused one in its inner part
        self.clip: Any = CLIPVisionModelWithProjection(vision)
        for name, count in (("concept_embeds", CONCEPTS), ("special_care_embeds", SPECIAL)):
            self.register_parameter(name, nn.Parameter(torch.ones(count, config.projection_dim), False))
            self.register_parameter(f"{name}_weights", nn.Parameter(torch.ones(count), False))

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
        """1 for each image that passes, 0 for one that is flagged, NaN where its embedding overflowed."""
        seen = self.clip(pixel_values=pixels).image_embeds.float()
        special = self._above(seen, "special_care_embeds", torch.zeros(len(seen), 1, device=seen.device))
        care = CARE * special.any(dim=1, keepdim=True).float()
        flagged = self._above(seen, "concept_embeds", care).any(dim=1)
        # no comparison with NaN is true, so that a broken embedding would pass for a safe one
        return torch.where(seen.isfinite().all(dim=1), 1 - flagged.float(), torch.nan)

    def _above(self, seen: Float[Tensor, "b d"], name: str, extra: Float[Tensor, "b 1"]) -> Bool[Tensor, "b concepts"]:
        """Which concepts of that name each image is nearer to than their thresholds allow."""
        concepts, thresholds = (getattr(self, each).float() for each in (name, f"{name}_weights"))
        cosines = normalize(seen) @ normalize(concepts).T
        return (cosines - thresholds + extra).round(decimals=DIGITS) > 0


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights under the names of `SafetyNet`; those that newer classes save have no tower in a tower."""
    return {_renamed(name): tensor for name, tensor in state.items()}


def _renamed(name: str) -> str:
    if name.startswith(NESTED):
        return "clip.vision_model." + name.removeprefix(NESTED)
    return f"clip.{name}" if name.startswith(("vision_model.", "visual_projection.")) else name
