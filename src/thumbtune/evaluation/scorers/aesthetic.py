"""LAION's two aesthetic predictors: a linear head on CLIP's image embedding.

    score = w . f / |f| + b         f: the ViT-L/14's embedding of an image, [768]

The second is published as an MLP of five layers without activations. It equals a linear head: the product of its
matrices. The two heads point in different directions (cosine 0.37), so their scores differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune.errors import ThumbtuneError


@dataclass(frozen=True)
class LinearHead:
    """Weight [d] and bias (one number) of a linear head."""

    weight: Float[Tensor, "d"]
    bias: Float[Tensor, ""]

    def __call__(self, embedded: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Return the scores of embeddings of nonzero length; about 1 (ugly) to 10."""
        return torch.nn.functional.normalize(embedded, dim=-1) @ self.weight + self.bias


def fold_to_linear_head(state: Mapping[str, Tensor]) -> LinearHead:
    """Return the published weights of either predictor as one linear head, folded in float64.

    Raises:
        ThumbtuneError: the weights belong to neither predictor.
    """
    if set(state) == {"weight", "bias"}:
        return LinearHead(state["weight"][0].float(), state["bias"][0].float())
    try:
        layers = sorted({int(name.split(".")[1]) for name in state})
        width = state["layers.0.weight"].shape[1]
        weight, bias = torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
        for i in layers:
            matrix = state[f"layers.{i}.weight"].double()
            weight, bias = matrix @ weight, matrix @ bias + state[f"layers.{i}.bias"].double()
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise ThumbtuneError(
            f"These weights do not belong to an aesthetic predictor ({error}); use the file that `thumbtune scorers` "
            "names.",
            code="scorer-weights-mismatch",
        ) from error
    # the variant with ReLUs between its layers is not linear; its layers are 0, 3, 6, 9, 11
    if layers != [0, 2, 4, 6, 7] or weight.shape[0] != 1:
        raise ThumbtuneError(
            f"Layers {layers} do not form a linear aesthetic predictor; use the file sac+logos+ava1-l14.",
            code="scorer-weights-not-linear",
        )
    return LinearHead(weight[0].float(), bias[0].float())
