"""DiffusionNFT's loss on stored likes and dislikes: a negative whose push has an end. arXiv 2509.16117, offline.

    v+   = ref + b (policy - ref)            v-   = ref - b (policy - ref)                 b is `mix`, the paper's beta
    loss = weight * (r |v+ - target|^2 + (1 - r) |v- - target|^2) / b                          r is the grade, or 1 or 0

Squares are means over a latent. With d = policy - ref and s = 2 r - 1 they expand to what `Judged` has:

    |ref + s b d - target|^2 = reference_error + s b (policy_error - reference_error - moved) + b^2 moved

    loss / weight = reference_error / b - s (log_ratio + moved) + b moved

`moved` = |d|^2 has the factor b - s, which is above 0 for dislikes: the further a policy goes, the more it is pulled
back. KTO and DPO have the first part alone, whose push on dislikes ends only where a utility is flat. With b = 1 and
r = 1 the loss is policy_error, as SFT's.

The paper generates new images with the present policy and judges them; here images are those of the feedback, and the
reference is frozen.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from thumbtune.objective.arguments import require_numbers
from thumbtune.objective.kto import Judged
from thumbtune.objective.protocol import MOVED, REFERENCE_ERROR


@dataclass(frozen=True, kw_only=True)
class NFT:
    """DiffusionNFT offline: dislikes teach through the mirror image of the policy, at the distance `mix`.

    >>> judged = Judged(policy_error=torch.tensor([0.3, 0.5]), reference_error=torch.tensor([0.4, 0.4]),
    ...     moved=torch.tensor([0.1, 0.1]), liked=torch.tensor([True, False]), weight=torch.ones(2),
    ...     reference_point=torch.tensor(0.0))
    >>> NFT(mix=1.0)(judged)
    tensor([0.3000, 0.5000])
    """

    mix: float = 0.5
    contrasts: bool = True
    needs: frozenset[str] = frozenset({"liked", "disliked"})
    reads: frozenset[str] = frozenset({REFERENCE_ERROR, MOVED})

    def __post_init__(self) -> None:
        require_numbers(mix=self.mix)
        if not self.mix > 0:
            raise ValueError(f"mix must be positive, not {self.mix}; try 0.5.")

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        if judged.moved is None:
            raise ValueError("NFT needs `moved`, how far the policy's output is from the reference's; give it.")
        apart = judged.log_ratio + judged.moved
        both = judged.reference_error.detach() / self.mix + self.mix * judged.moved
        return judged.expected(both - apart, both + apart)
