"""What Diffusion-KTO is compared with, as losses of the same judged batch.

gain   = sign * beta * (log_ratio - neutral)                           as in objective.py

BCO    loss = -log sigmoid(gain), neutral balanced                     arXiv 2404.04656
DPO    loss = -log sigmoid(beta / 2 * (log_ratio_w - log_ratio_l))     Diffusion-DPO, arXiv 2311.12908, eq. 14
SFT    loss = policy_error of the liked images                         the denoising loss, arXiv 2006.11239, eq. 14
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thumbtune.objective import Judged, require_positive


@dataclass(frozen=True, kw_only=True)
class BCO:
    """A classifier of likes and dislikes whose logit is the implied reward; meant for the `balanced` neutral point.

    Up to a constant it is KTO with the loss-averse utility: what differs is where the balanced point lies.
    """

    beta: float = 5000.0
    needs: frozenset[str] = frozenset({"liked", "disliked"})

    def __post_init__(self) -> None:
        require_positive(self.beta)

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        return -judged.weight * F.logsigmoid(judged.sign * self.beta * (judged.log_ratio - judged.neutral.detach()))


@dataclass(frozen=True, kw_only=True)
class DPO:
    """Diffusion-DPO on pairs: both rows of a pair carry the pair's loss, so the mean over rows is that over pairs."""

    beta: float = 5000.0
    needs: frozenset[str] = frozenset({"liked", "disliked", "pairs"})

    def __post_init__(self) -> None:
        require_positive(self.beta)

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        if judged.partner is None:
            raise ValueError("DPO compares the two images of a pair, and this batch has no pairs; use KTO instead.")
        margin = judged.sign * (judged.log_ratio - judged.log_ratio[judged.partner])
        return -judged.weight * F.logsigmoid(0.5 * self.beta * margin)


@dataclass(frozen=True, kw_only=True)
class SFT:
    """Supervised fine-tuning on what was liked: the plain denoising error; disliked images cost nothing."""

    needs: frozenset[str] = frozenset({"liked"})

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        return judged.weight * judged.liked.to(judged.weight) * judged.policy_error
