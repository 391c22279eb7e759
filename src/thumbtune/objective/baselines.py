"""Baselines of Diffusion-KTO, as losses of the same judged batch.

gain   = sign * beta * (log_ratio - reference_point)                           as in kto.py

BCO    loss = -log sigmoid(gain), reference_point balanced                     arXiv 2404.04656
DPO    loss = -log sigmoid(beta / 2 * (log_ratio_w - log_ratio_l))     Diffusion-DPO, arXiv 2311.12908, eq. 14
SFT    loss = policy_error of the liked images                         the denoising loss, arXiv 2006.11239, eq. 14
CSFT   loss = policy_error of all images, good/bad before the prompt   as HPS does, arXiv 2303.14420
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thumbtune.objective.arguments import require_numbers, require_positive
from thumbtune.objective.kto import Judged
from thumbtune.objective.prompt_prefix import PromptPrefixes

GOOD_OR_BAD = PromptPrefixes("good image", "bad image")


@dataclass(frozen=True, kw_only=True)
class BCO:
    """A classifier of likes and dislikes whose logit is the implicit reward; meant for the `balanced` reference point.

    Up to a constant it is KTO with the loss-averse utility and another reference point.
    """

    beta: float = 5000.0
    anchor: float = 0.0
    needs: frozenset[str] = frozenset({"liked", "disliked"})

    def __post_init__(self) -> None:
        require_positive(self.beta)
        require_numbers(anchor=self.anchor)

    def gain(self, judged: Judged) -> Float[Tensor, "b"]:
        """Return the gain, as KTO's: positive if the policy moved as the label asks."""
        return judged.sign * self.beta * (judged.log_ratio - judged.reference_point.detach())

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        reward = judged.sign * self.gain(judged)
        return judged.expected(-F.logsigmoid(reward), -F.logsigmoid(-reward)) + judged.anchor(self.anchor)


@dataclass(frozen=True, kw_only=True)
class DPO:
    """Diffusion-DPO on pairs: both rows of a pair have the pair's loss, so the mean over rows is the mean over pairs.

    With grades, an image is preferred to its partner with probability (1 + difference of the grades) / 2.
    """

    beta: float = 5000.0
    anchor: float = 0.0
    needs: frozenset[str] = frozenset({"liked", "disliked", "pairs"})

    def __post_init__(self) -> None:
        require_positive(self.beta)
        require_numbers(anchor=self.anchor)

    def gain(self, judged: Judged) -> Float[Tensor, "b"]:
        """Return the argument of the sigmoid, the same in both rows of a pair: a change that both images share cancels.

        Raises:
            ValueError: the batch has no pairs.
        """
        if judged.partner is None:
            raise ValueError("DPO compares the two images of a pair, and this batch has no pairs; use KTO instead.")
        return judged.sign * 0.5 * self.beta * (judged.log_ratio - judged.log_ratio[judged.partner])

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        margin = judged.sign * self.gain(judged)
        assert judged.partner is not None  # otherwise gain has raised
        preferred = 0.5 * (1 + judged.liking - judged.liking[judged.partner])
        loss = torch.lerp(-F.logsigmoid(-margin), -F.logsigmoid(margin), preferred)
        return judged.weight * loss + judged.anchor(self.anchor)


@dataclass(frozen=True, kw_only=True)
class SFT:
    """Supervised fine-tuning on liked images: the plain denoising error. The loss of disliked images is 0."""

    needs: frozenset[str] = frozenset({"liked"})
    reads: frozenset[str] = frozenset()  # nothing of the reference

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        return judged.weight * judged.liking * judged.policy_error


@dataclass(frozen=True, kw_only=True)
class CSFT:
    """Conditional fine-tuning on all images, with a prompt prefix that tells good images from bad ones.

    Training puts the prefixes before the prompts. Generate with the prefix of good images.
    """

    prompt_prefixes: PromptPrefixes = GOOD_OR_BAD
    needs: frozenset[str] = frozenset({"liked", "disliked"})
    reads: frozenset[str] = frozenset()  # nothing of the reference

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        return judged.weight * judged.policy_error
