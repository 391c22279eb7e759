"""Diffusion-KTO: denoising errors and labels in, one loss per image out.

    log_ratio = reference_error - policy_error                  surrogate of log pi_theta / pi_ref at one denoising step
    gain      = sign * beta * (log_ratio - reference_point)     sign: +1 liked, -1 disliked; Q_ref in the paper
    loss      = weight * (1 - U(gain))                          Diffusion-KTO, arXiv 2404.04465, eq. 8

`KTO.log_ratio` may be `relative`: both the log-ratio and the reference point are then shares of the reference's error.

With a grade g in [0, 1] the loss is g * loss(liked) + (1 - g) * loss(disliked).

Errors are means over the elements of a latent, as in the authors' code, so beta has the same meaning: theirs is 5000.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thumbtune.objective.arguments import require_function, require_numbers, require_positive
from thumbtune.objective.log_ratio import LOG_RATIOS, LogRatio, absolute
from thumbtune.objective.utility import UTILITIES, Utility, kahneman_tversky


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A batch of images at one noise level each, with their labels.

    Errors are mean squared denoising errors at the same noise and time; only `policy_error` and `moved` carry
    gradients.

    policy_error, reference_error: of the network in training; of the reference, NaN if nothing of it is read
    liked, weight:   true for a liked image; the factor of each row's loss
    reference_point: the log-ratio that is neither a gain nor a loss
    partner:         for pairs: the row, in this batch, of the other image of the pair
    grade:           how much each image is liked, 0..1; None: labels only
    moved:           mean squared distance of the policy's output from the reference's; None unless it is read
    """

    policy_error: Float[Tensor, "b"]
    reference_error: Float[Tensor, "b"]
    liked: Bool[Tensor, "b"]
    weight: Float[Tensor, "b"]
    reference_point: Float[Tensor, ""]
    partner: Int[Tensor, "b"] | None = None
    grade: Float[Tensor, "b"] | None = None
    moved: Float[Tensor, "b"] | None = None

    @property
    def log_ratio(self) -> Float[Tensor, "b"]:
        """Return how much better than the reference the policy denoises each image; times beta, the implicit reward."""
        return self.reference_error.detach() - self.policy_error

    @property
    def neutral(self) -> Float[Tensor, ""]:
        """Return the reference point, by the name that objectives of your own use in runs of the version before."""
        return self.reference_point

    @property
    def sign(self) -> Float[Tensor, "b"]:
        """Return +1 for a liked image, -1 for a disliked one."""
        return torch.where(self.liked, 1.0, -1.0).to(self.policy_error)

    @property
    def liking(self) -> Float[Tensor, "b"]:
        """Return the grades; without grades, 1 for a liked image and 0 for a disliked one."""
        return (self.liked if self.grade is None else self.grade).to(self.policy_error)

    def expected(self, up: Float[Tensor, "b"], down: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """Return the weighted loss of each image, from its losses if it is liked (`up`) and disliked (`down`)."""
        return self.weight * torch.lerp(down, up, self.liking)

    def anchor(self, strength: float) -> Float[Tensor, "b"]:
        """Return plain denoising of liked images (arXiv 2006.11239, eq. 14); it acts even if the utility is flat."""
        return strength * self.weight * self.liking * self.policy_error


@dataclass(frozen=True, kw_only=True)
class KTO:
    """Diffusion-KTO: the human utility of each image's gain over the reference point, with an optional anchor.

    >>> judged = Judged(policy_error=torch.tensor([0.1, 0.1]), reference_error=torch.tensor([0.1, 0.1]),
    ...     liked=torch.tensor([True, False]), weight=torch.ones(2), reference_point=torch.tensor(0.0))
    >>> KTO(beta=5000.0)(judged)
    tensor([0.5000, 0.5000])
    """

    beta: float = 5000.0
    utility: Utility = kahneman_tversky
    log_ratio: LogRatio = absolute
    liked_weight: float = 1.0
    disliked_weight: float = 1.0
    anchor: float = 0.0
    needs: frozenset[str] = frozenset({"liked", "disliked"})

    def __post_init__(self) -> None:
        require_positive(self.beta)
        require_function("utility", self.utility, UTILITIES, "UTILITIES")
        require_function("log_ratio", self.log_ratio, LOG_RATIOS, "LOG_RATIOS")
        require_numbers(liked_weight=self.liked_weight, disliked_weight=self.disliked_weight, anchor=self.anchor)

    def gain(self, judged: Judged) -> Float[Tensor, "b"]:
        """Return the argument of the utility, eq. 8: positive if the policy moved as the label asks."""
        return judged.sign * self.reward(judged)

    def reward(self, judged: Judged) -> Float[Tensor, "b"]:
        """Return the gain of each image if it were liked: the implicit reward above that of the reference point."""
        log_ratio = self.log_ratio(judged.reference_error.detach(), judged.policy_error)
        return self.beta * (log_ratio - judged.reference_point.detach())

    def __call__(self, judged: Judged) -> Float[Tensor, "b"]:
        gain = self.gain(judged)
        if judged.grade is None:  # one call only: the utility may overflow at the opposite gain
            side = torch.where(judged.liked, self.liked_weight, self.disliked_weight).to(judged.weight)
            return side * judged.weight * (1.0 - self.utility(gain)) + judged.anchor(self.anchor)
        # two nodes of the graph and not one: gradients are then summed in the order of earlier versions, bit for bit
        up, down = (self.reward(judged) for _ in range(2))
        liked, disliked = 1.0 - self.utility(up), 1.0 - self.utility(-down)
        return judged.expected(self.liked_weight * liked, self.disliked_weight * disliked) + judged.anchor(self.anchor)
