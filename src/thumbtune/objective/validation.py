"""Try a user's own objective or utility before any long work, and name its file if it fails later.

Training needs gradients for batches of any size, with both kinds of label or one. It begins with a policy that equals
the reference, so with log-ratios of 0. Such batches are tried here.
"""

from collections.abc import Iterator
from dataclasses import fields
from difflib import get_close_matches

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune import plugins
from thumbtune.errors import ThumbtuneError, UsageError, plural, reason
from thumbtune.memory import ran_out
from thumbtune.objective.kto import Judged
from thumbtune.objective.log_ratio import LogRatio
from thumbtune.objective.protocol import (
    MOVED,
    REFERENCE_ERROR,
    Objective,
    Traits,
    reads_moved,
    reads_reference,
    traits_of,
)
from thumbtune.objective.utility import Utility

KINDS = ("liked", "disliked", "pairs")  # what an objective may need
READ = (REFERENCE_ERROR, MOVED)  # what it may read of the reference
TRIED_LABELS = {  # the labels of the tried batches: T a like, F a dislike
    "pairs": ("TF", "TFTF", "TFTFTFTFTF"),
    "both": ("TF", "T", "F", "TTFTF", "FTTTTTTTFTTF"),
    "likes": ("T", "TT", "TTTTT", "TTTTTTTTTTTT"),
}
TRIED_ERROR = 0.11  # the reference's error; log-ratios go up to a tenth of it
MAX_TRIED_LOG_RATIO = 0.01
NEARLY = 0.9  # the likeness of two names from which on one is taken for a slip of the other
TRIED_GAINS = 13  # number of gains at which a utility is tried: from -3 to 3, including 0


def own_name(objective: Objective) -> str | None:
    """Return `my_file:Name` of a user's objective, or of a user's utility in it; None if neither is a user's."""
    return plugins.name_of(type(objective)) or plugins.name_of(traits_of(objective).utility)


def loss_of(objective: Objective, judged: Judged) -> Float[Tensor, "b"]:
    """Return the loss of every image.

    Raises:
        ThumbtuneError: a user's objective fails, or does not return one loss with a gradient per image.
    """
    name, count = own_name(objective), len(judged.policy_error)
    if name is None:
        return objective(judged)
    if not count:  # no image of the part was finite
        return torch.zeros_like(judged.policy_error)
    try:
        loss = objective(judged)
    except Exception as error:
        if ran_out(error):
            raise
        raise ThumbtuneError(
            f"{name} failed on a batch of {_counts(judged)} ({reason(error)}); correct it, and start a new run.",
            code="objective-fails",
        ) from error
    fault = _fault(loss, judged)
    if fault is not None:
        raise ThumbtuneError(
            f"{name} returned {fault} for a batch of {_counts(judged)}; correct it, and start a new run.",
            code="objective-wrong-loss",
        )
    return loss


def try_objective(objective: Objective, name: str) -> None:
    """Try a user's objective on batches like those of a training.

    Raises:
        UsageError: it fails, has unknown needs, or does not return one loss with a gradient per image.
    """
    _check_needs(objective, name)
    _check_traits(objective, name)
    _check_prefixes(objective, name)
    _check_reads(objective, name)
    teaches, gain_of = False, traits_of(objective).gain
    for judged in _batches(objective):
        try:
            loss = objective(judged)
            gain = judged.sign if gain_of is None else gain_of(judged)
        except Exception as error:
            raise UsageError(
                f"objective.name: {name} fails on {_counts(judged)} ({reason(error)}); correct it.",
                code="objective-fails",
            ) from error
        fault = _fault(loss, judged) or (None if _is_row(gain, judged) else "a `gain` that is no tensor of shape [b]")
        if fault is None and not loss.isfinite().all():
            fault = "a loss that is not finite"
        if fault is not None:
            raise UsageError(
                f"objective.name: {name} returned {fault} for {_counts(judged)}; return one finite loss per image, a "
                "tensor of shape [b] made of judged.policy_error.",
                code="objective-wrong-loss",
            )
        leaves = [judged.policy_error] if judged.moved is None else [judged.policy_error, judged.moved]
        slope, *others = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
        if not all(one is None or one.isfinite().all() for one in (slope, *others)):
            raise UsageError(
                f"objective.name: {name} has no finite gradient for {_counts(judged)}; correct it.",
                code="objective-gradient",
            )
        teaches = teaches or (slope is not None and bool(slope.any()))
    if not teaches:
        raise UsageError(
            f"objective.name: {name} never has a gradient, so nothing would be learnt; make its loss of "
            "judged.policy_error or judged.log_ratio.",
            code="objective-gradient",
        )


def try_utility(utility: Utility, name: str) -> None:
    """Try a user's utility on gains from -3 to 3.

    Raises:
        UsageError: it fails, does not return one finite value per gain, has no slope, or falls.
    """
    gains = torch.linspace(-3.0, 3.0, TRIED_GAINS, requires_grad=True)
    try:
        values = utility(gains)
    except Exception as error:
        raise UsageError(
            f"objective.utility: {name} fails on a tensor of gains ({reason(error)}); correct it.", code="utility-fails"
        ) from error
    if not isinstance(values, Tensor) or values.shape != gains.shape or not values.isfinite().all():
        raise UsageError(
            f"objective.utility: {name} must return one finite value per gain, a tensor of the same shape.",
            code="utility-wrong-values",
        )
    slope = torch.autograd.grad(values.sum(), gains, allow_unused=True)[0] if values.requires_grad else None
    if slope is None or not slope.any():
        raise UsageError(
            f"objective.utility: {name} has no slope at any gain, so nothing would be learnt; make it of torch's "
            "operations on the gain, without detach.",
            code="utility-slope",
        )
    if not slope.isfinite().all():
        at = float(gains.detach()[~slope.isfinite()][0])
        raise UsageError(
            f"objective.utility: {name} has no finite slope at a gain of {at:g}; correct it.",
            code="utility-infinite-slope",
        )
    falls = (values.diff() < 0).nonzero()
    if len(falls):
        at = float(gains.detach()[falls[0, 0]])
        raise UsageError(
            f"objective.utility: {name} falls where the gain exceeds {at:g}, which would teach the opposite of the "
            "labels there; make it rise.",
            code="utility-falls",
        )


def _check_needs(objective: Objective, name: str) -> None:
    """Refuse unknown needs: a misspelt `disliked` would silently drop the dislikes."""
    needs = objective.needs
    if not isinstance(needs, frozenset | set | tuple | list) or not needs or not set(needs) <= set(KINDS):
        raise UsageError(
            f"objective.name: {name} has the needs {needs!r}; give a frozenset of the labels that it learns from: "
            f"{', '.join(KINDS[:-1])} and {KINDS[-1]}.",
            code="objective-needs",
        )


def _check_traits(objective: Objective, name: str) -> None:
    """Refuse an optional member of the wrong kind, and one whose name is nearly right: it would be ignored."""
    traits = traits_of(objective)
    for member, value, kind in (("beta", traits.beta, "a number or None"), ("anchor", traits.anchor, "a number")):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number and not (member == "beta" and value is None):
            raise UsageError(
                f"objective.name: {name} has the {member} {value!r:.60}; make it {kind}.", code="objective-trait"
            )
    for member, value in (("gain", traits.gain), ("utility", traits.utility), ("log_ratio", traits.log_ratio)):
        if value is not None and not callable(value):
            raise UsageError(
                f"objective.name: {name} has the {member} {value!r:.60}; make it a function of tensors, or None.",
                code="objective-trait",
            )
    if traits.contrasts is not None and not isinstance(traits.contrasts, bool):
        raise UsageError(
            f"objective.name: {name} has the contrasts {traits.contrasts!r:.60}; make it True, False or None.",
            code="objective-trait",
        )
    _check_log_ratio(traits.log_ratio, name)
    known = [field.name for field in fields(Traits)]
    for member in (each for each in dir(objective) if not each.startswith("_") and each not in known):
        if close := get_close_matches(member, known, n=1, cutoff=NEARLY):
            raise UsageError(
                f"objective.name: {name} has `{member}`, which nothing reads; rename it: `{close[0]}` if it is meant, "
                "or a name that is less like it.",
                code="objective-trait",
            )


def _check_log_ratio(log_ratio: LogRatio, name: str) -> None:
    """Refuse a log-ratio that is none of two errors, such as a method of an early version with this name."""
    error = torch.full((2,), TRIED_ERROR)
    try:
        ratio = log_ratio(error, error.clone().requires_grad_())
    except Exception as caught:
        raise UsageError(
            f"objective.name: {name} has a `log_ratio` that fails on two errors, the reference's first "
            f"({reason(caught)}); make it such a function, or rename it, since the reference point is made of it.",
            code="objective-trait",
        ) from caught
    if not isinstance(ratio, Tensor) or ratio.shape != error.shape:
        raise UsageError(
            f"objective.name: {name} has a `log_ratio` that returns no tensor of shape [b]; return one value for each "
            "image, or rename it, since the reference point is made of it.",
            code="objective-trait",
        )


def _check_reads(objective: Objective, name: str) -> None:
    """Refuse unknown fields of `Judged`: a misspelt one would be missing in training."""
    reads = traits_of(objective).reads
    if not isinstance(reads, frozenset | set | tuple | list) or not set(reads) <= set(READ):
        raise UsageError(
            f"objective.name: {name} has the reads {reads!r:.60}; give a frozenset of {' and '.join(READ)}, or an "
            "empty one if the loss needs nothing of the reference.",
            code="objective-reads",
        )


def _check_prefixes(objective: Objective, name: str) -> None:
    if hasattr(objective, "marks"):
        raise UsageError(
            f"objective.name: {name} has `marks`, which are called `prompt_prefixes` now; rename them.",
            code="objective-prefixes",
        )
    prefixes = traits_of(objective).prompt_prefixes
    match prefixes:
        case None | (str(), str()):
            return
    raise UsageError(
        f"objective.name: {name} has the prompt_prefixes {prefixes!r}; give two texts, one for the prompts of good "
        "images and one for those of bad images.",
        code="objective-prefixes",
    )


def _batches(objective: Objective) -> Iterator[Judged]:
    """Yield batches with log-ratios of 0, and with positive and negative ones."""
    paired = "pairs" in objective.needs
    kind = "pairs" if paired else "both" if "disliked" in objective.needs else "likes"
    for labels, farthest in [(labels, far) for labels in TRIED_LABELS[kind] for far in (0.0, MAX_TRIED_LOG_RATIO)]:
        count = len(labels)
        reference = torch.full((count,), TRIED_ERROR)
        yield Judged(
            policy_error=(reference - torch.linspace(farthest, -farthest, count)).requires_grad_(),
            reference_error=reference if reads_reference(objective) else torch.full_like(reference, torch.nan),
            liked=torch.tensor([label == "T" for label in labels]),
            weight=torch.ones(count),
            reference_point=torch.tensor(0.0),
            partner=torch.arange(count) ^ 1 if paired else None,
            moved=torch.linspace(farthest, -farthest, count).abs().requires_grad_() if reads_moved(objective) else None,
        )


def _is_row(value: object, judged: Judged) -> bool:
    return isinstance(value, Tensor) and value.shape == judged.policy_error.shape


def _fault(loss: object, judged: Judged) -> str | None:
    """Return what is wrong with the type, shape or gradient of a loss; None if nothing is."""
    if not isinstance(loss, Tensor):
        return f"a {type(loss).__name__}, which is no tensor,"
    if loss.shape != judged.policy_error.shape:
        return f"a loss of shape {list(loss.shape)}"
    if judged.policy_error.requires_grad and not loss.requires_grad:
        return "a loss without a gradient"
    return None


def _counts(judged: Judged) -> str:
    likes = int(judged.liked.sum())
    dislikes = len(judged.liked) - likes
    return f"{plural(likes, 'like')} and {plural(dislikes, 'dislike')}"
