"""What users bring, on trial: asked before any long work what a training will ask, and named where it fails later.

A training judges batches of any size, with likes alone or dislikes alone among them, and asks for gradients. It begins
where the policy is the reference: with log-ratios of 0.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune import plugins as own
from thumbtune.errors import ThumbtuneError, UsageError, plural, reason
from thumbtune.objective.kto import Judged, Objective
from thumbtune.objective.utility import Utility

KINDS = ("liked", "disliked", "pairs")  # what an objective may need
THUMBS = {  # the batches that are tried: T a like, F a dislike
    "pairs": ("TF", "TFTF", "TFTFTFTFTF"),
    "both": ("TF", "T", "F", "TTFTF", "FTTTTTTTFTTF"),
    "likes": ("T", "TT", "TTTTT", "TTTTTTTTTTTT"),
}
ERROR = 0.11  # of the reference, in the trial; log-ratios go up to a tenth of it
FARTHEST = 0.01
GAINS = 13  # at which a utility is tried: from -3 to 3, with 0 among them


def named(objective: Objective) -> str | None:
    """The name of what is a user's, `my_file:Name`: the objective, or the utility of one of ours; None for neither."""
    return own.name_of(type(objective)) or own.name_of(getattr(objective, "utility", None))


def loss_of(objective: Objective, judged: Judged) -> Float[Tensor, "b"]:
    """The loss of every image.

    Raises:
        ThumbtuneError: a user's objective fails, or gives something else than a loss for each that can be learnt from.
    """
    name, count = named(objective), len(judged.policy_error)
    if name is None:
        return objective(judged)
    if not count:  # every image of a part was broken: nothing to ask
        return torch.zeros_like(judged.policy_error)
    try:
        loss = objective(judged)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ThumbtuneError(
            f"{name} failed on a batch of {_said(judged)} ({reason(error)}); mend it, and start a new run."
        ) from error
    wrong = _off(loss, judged)
    if wrong is not None:
        raise ThumbtuneError(f"{name} gave, for a batch of {_said(judged)}, {wrong}; mend it, and start a new run.")
    return loss


def try_objective(objective: Objective, name: str) -> None:
    """Ask a user's objective about batches as training makes them.

    Raises:
        UsageError: it fails, needs what there is not, or gives something else than a loss for each that teaches.
    """
    _check_needs(objective, name)
    _check_marks(objective, name)
    teaches = False
    for judged in _batches(objective):
        try:
            loss = objective(judged)
            gain = getattr(objective, "gain", lambda judged: judged.sign)(judged)
        except Exception as error:
            raise UsageError(f"objective.name: {name} fails on {_said(judged)} ({reason(error)}); mend it.") from error
        wrong = _off(loss, judged) or (None if _is_a_row(gain, judged) else "a `gain` that is no tensor of shape [b]")
        if wrong is None and not loss.isfinite().all():
            wrong = "a loss that is not finite"
        if wrong is not None:
            raise UsageError(
                f"objective.name: {name} gave, for {_said(judged)}, {wrong}; it must give one finite loss for each "
                "image, a tensor of shape [b] made of judged.policy_error."
            )
        (slope,) = torch.autograd.grad(loss.sum(), judged.policy_error, allow_unused=True)
        if slope is not None and not slope.isfinite().all():
            raise UsageError(f"objective.name: {name} has no finite gradient for {_said(judged)}; mend it.")
        teaches = teaches or (slope is not None and bool(slope.any()))
    if not teaches:
        raise UsageError(
            f"objective.name: {name} never has a gradient, so that nothing would be learnt; make its loss of "
            "judged.policy_error or judged.log_ratio."
        )


def try_utility(utility: Utility, name: str) -> None:
    """Ask a user's utility about gains from -3 to 3.

    Raises:
        UsageError: it fails, gives something else than one finite value for each, has no slope, or falls.
    """
    gains = torch.linspace(-3.0, 3.0, GAINS, requires_grad=True)
    try:
        worth = utility(gains)
    except Exception as error:
        raise UsageError(f"objective.utility: {name} fails on a tensor of gains ({reason(error)}); mend it.") from error
    if not isinstance(worth, Tensor) or worth.shape != gains.shape or not worth.isfinite().all():
        raise UsageError(
            f"objective.utility: {name} must give one finite value for each gain, a tensor of their shape."
        )
    slope = torch.autograd.grad(worth.sum(), gains, allow_unused=True)[0] if worth.requires_grad else None
    if slope is None or not slope.any():
        raise UsageError(
            f"objective.utility: {name} has no slope at any gain, so that nothing would be learnt; make it of torch's "
            "operations on the gain, without detach."
        )
    if not slope.isfinite().all():
        at = float(gains.detach()[~slope.isfinite()][0])
        raise UsageError(f"objective.utility: {name} has no finite slope at a gain of {at:g}; mend it.")
    falls = (worth.diff() < 0).nonzero()
    if len(falls):
        at = float(gains.detach()[falls[0, 0]])
        raise UsageError(
            f"objective.utility: {name} falls where a gain grows beyond {at:g}, which would teach the opposite of the "
            "thumbs there; make it rise."
        )


def _check_needs(objective: Objective, name: str) -> None:
    """A word that is not known would drop the dislikes without saying so."""
    needs = objective.needs
    if not isinstance(needs, frozenset | set | tuple | list) or not needs or not set(needs) <= set(KINDS):
        raise UsageError(
            f"objective.name: {name} has the needs {needs!r}, but should say what likes it learns from: a frozenset "
            f"of {', '.join(KINDS[:-1])} and {KINDS[-1]}."
        )


def _check_marks(objective: Objective, name: str) -> None:
    marks = getattr(objective, "marks", None)
    match marks:
        case None | (str(), str()):
            return
    raise UsageError(
        f"objective.name: {name} has the marks {marks!r}, but should have two words: what goes before the prompt of a "
        "good image, and of a bad one."
    )


def _batches(objective: Objective) -> Iterator[Judged]:
    """At rest, and with log-ratios of either sign."""
    paired = "pairs" in objective.needs
    kind = "pairs" if paired else "both" if "disliked" in objective.needs else "likes"
    for thumbs, farthest in [(thumbs, far) for thumbs in THUMBS[kind] for far in (0.0, FARTHEST)]:
        count = len(thumbs)
        reference = torch.full((count,), ERROR)
        yield Judged(
            policy_error=(reference - torch.linspace(farthest, -farthest, count)).requires_grad_(),
            reference_error=reference,
            liked=torch.tensor([thumb == "T" for thumb in thumbs]),
            weight=torch.ones(count),
            reference_point=torch.tensor(0.0),
            partner=torch.arange(count) ^ 1 if paired else None,
        )


def _is_a_row(value: object, judged: Judged) -> bool:
    return isinstance(value, Tensor) and value.shape == judged.policy_error.shape


def _off(loss: object, judged: Judged) -> str | None:
    """What is wrong with a loss, whatever its numbers."""
    if not isinstance(loss, Tensor):
        return f"a {type(loss).__name__} and no tensor"
    if loss.shape != judged.policy_error.shape:
        return f"a loss of shape {list(loss.shape)}"
    if judged.policy_error.requires_grad and not loss.requires_grad:
        return "a loss without a gradient"
    return None


def _said(judged: Judged) -> str:
    likes = int(judged.liked.sum())
    dislikes = len(judged.liked) - likes
    return f"{plural(likes, 'like')} and {plural(dislikes, 'dislike')}"
