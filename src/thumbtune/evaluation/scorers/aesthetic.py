"""LAION's two aesthetic predictors: a line through CLIP's space of images.

    score = w . f / |f| + b         f: the ViT-L/14's embedding of an image, [768]

The second is published as an MLP of five layers with nothing between them that bends, and so is a line as well:
the product of its matrices. The two lines point different ways (cosine 0.37): one says little about the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune.errors import ThumbtuneError


@dataclass(frozen=True)
class Line:
    """weight: [d]; bias: one number."""

    weight: Float[Tensor, "d"]
    bias: Float[Tensor, ""]

    def __call__(self, embedded: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Scores of embeddings of any length but 0; about 1 (ugly) to 10."""
        return torch.nn.functional.normalize(embedded, dim=-1) @ self.weight + self.bias


def line_of(state: Mapping[str, Tensor]) -> Line:
    """The published weights of either predictor as one line, folded in float64.

    Raises:
        ThumbtuneError: they are of neither.
    """
    if set(state) == {"weight", "bias"}:
        return Line(state["weight"][0].float(), state["bias"][0].float())
    try:
        layers = sorted({int(name.split(".")[1]) for name in state})
        width = state["layers.0.weight"].shape[1]
        weight, bias = torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
        for i in layers:
            matrix = state[f"layers.{i}.weight"].double()
            weight, bias = matrix @ weight, matrix @ bias + state[f"layers.{i}.bias"].double()
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise ThumbtuneError(
            f"These are no weights of an aesthetic predictor ({error}); get the file that `thumbtune scorers` names."
        ) from error
    # the form with ReLUs between its layers, which is no line, has its layers at 0, 3, 6, 9, 11
    if layers != [0, 2, 4, 6, 7] or weight.shape[0] != 1:
        raise ThumbtuneError(f"Layers {layers} are of no aesthetic predictor that is a line; get sac+logos+ava1-l14.")
    return Line(weight[0].float(), bias[0].float())
