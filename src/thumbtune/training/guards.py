"""Guards: rules over a training's own numbers that stop it before it wastes hours or spoils what it learnt.

    broken          most images of a window gave no finite error
    collapse        even liked images are denoised far worse than by the reference, several steps in a row
    runaway         liked images get worse together with the disliked ones (known of Diffusion-DPO)
    exploding       the error of disliked images grows without bound, even if liked images are fine
    beta_too_low    the policy has moved, but gains are so small that the utility is a straight line
    beta_too_high   nearly all gains are where the utility is flat, and a tiny change of the error leads there
    idle            after a quarter of the run the policy still equals the reference
    disagreement    agreement with held-out likes is below chance, or far below its earlier best
    overfitting     held-out likes are denoised worse than by the base, if the objective has no contrast with dislikes

Where a training has no log-ratios, since nothing but guards would read them, held-out likes show a collapse, and
whether the policy has moved; then runaway has nothing to read, and overfitting stops it.

Guards know no model: each reads the numbers of the steps so far, which are the same in all processes. Errors are
divided by the reference's, so the thresholds hold for any model. The thresholds lie between two groups of runs: 54 runs
of the demos and of their search for settings, and plane runs of many seeds, which must all pass; and runs with one
setting off by a factor of 100 or more, which must all be stopped.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

WINDOW = 10  # steps to average: one step's log-ratios are those of a few images at random noise levels
# The liked error is twice the reference's. No healthy run lost a tenth of that over a window. Three steps in a row,
# since one step may contain a single liked image.
COLLAPSE, COLLAPSE_STEPS = 1.0, 3
RUNAWAY = 0.5  # healthy runs on the plane, with half of their labels dislikes, lose up to 0.26 and recover
LASTING_LOSS, LASTING_LOSS_STEPS = 0.3, 50  # less is enough if it lasts: a healthy run has recovered by then
# In healthy runs of the bundled model, disliked images reached 10 times the reference's error.
EXPLODING = 100.0
MOVED = 0.05  # log-ratios of 5% of the reference's error: the demos exceed it after 20 steps
# A median |gain| at which sigmoid' has changed by 1 in 40,000; with the demos' betas, MOVED is a gain of 0.3.
STRAIGHT = 0.01
# Share of images. The paper's beta saturates healthy runs too, and these go on learning: there beta times the
# reference's error is about 1,000, so a thousandth of that error is a gain of 1. A beta 20 times as high is stopped.
SATURATED, SATURATED_STEPS, STIFF = 0.985, 20, 20_000.0
BROKEN = 0.5  # share of images; up to it, the log and the report count them, and training uses the others
IDLE, IDLE_SHARE, IDLE_STEPS = 1e-6, 0.25, 50  # rounding alone changes float32 errors by less
DEVIATIONS = 3.0  # standard errors of an AUC between a measured and an expected agreement
OVERFITTING = 0.1  # of the base's error: healthy runs lose less, as in COLLAPSE, and gain on held-out likes
VALIDATIONS = 2  # in a row: the held-out images stay the same, but the policy moves on
CHANCE = 0.5


class StepNumbers(Protocol):
    """The numbers of a step that guards read; the trainer's `Step` has them."""

    @property
    def step(self) -> int: ...
    @property
    def liked_log_ratio(self) -> float | None: ...
    @property
    def disliked_log_ratio(self) -> float | None: ...
    @property
    def policy_error(self) -> float | None: ...
    @property
    def reference_error(self) -> float | None: ...
    @property
    def beta(self) -> float | None: ...
    @property
    def gain(self) -> float | None: ...
    @property
    def saturation(self) -> float | None: ...
    @property
    def skipped(self) -> int: ...
    @property
    def synced(self) -> bool: ...
    @property
    def agreement(self) -> float | None: ...
    @property
    def held_out_liked(self) -> float | None: ...


def chance_standard_error(liked: int, disliked: int) -> float:
    """Return the standard error of an AUC by chance (Mann and Whitney 1947); infinite if a kind is missing.

    Give the number of prompts of each kind, not of images: images of one prompt are no independent trials.
    """
    return math.sqrt((liked + disliked + 1) / (12 * liked * disliked)) if liked and disliked else math.inf


def _relative(steps: Iterable[StepNumbers], name: str) -> float | None:
    """Return the mean of a log-ratio over steps, divided by the reference's error; None if no step has one."""
    pairs = [(getattr(s, name), s.reference_error) for s in steps]
    complete = [(ratio, error) for ratio, error in pairs if ratio is not None and error]
    return fmean(r for r, _ in complete) / fmean(e for _, e in complete) if complete else None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Options to try that the run's objective has: to stay closer to the reference, or to push dislikes less."""

    stay_close: str = "a higher objective.beta or auto"
    push_less: str = "a lower objective.disliked_weight or a higher train.liked_share"


@dataclass(kw_only=True)
class Guards:
    """Check every step of a training; the first sentence that `check` returns should end it.

    planned_steps:  steps of the whole training
    batch_size:     images per step
    standard_error: of the held-out likes' AUC by chance; infinite if it is not measured
    is_relative:    whether beta multiplies relative log-ratios, so that their unit is 1 and not the reference's error
    sync_every:     steps between two syncs of the reference, over which log-ratios can be averaged; 0: all
    """

    planned_steps: int
    batch_size: int
    standard_error: float = math.inf
    is_relative: bool = False
    sync_every: int = 0
    advice: Advice = field(default_factory=Advice)
    history: list[StepNumbers] = field(default_factory=list)
    last_sync: int = 0  # the step of the last sync: log-ratios before it are over another reference
    has_moved: bool = False

    def check(self, step: StepNumbers) -> str | None:
        """Add a step; return a sentence that says what went wrong and what to try, or None if all is well."""
        self.history.append(step)
        guards = _GUARDS if step.step < self.planned_steps else _GUARDS_AT_THE_END
        problem = next((sentence for guard in guards if (sentence := guard(self)) is not None), None)
        if step.synced:
            self.last_sync = step.step
        return problem

    def window(self, count: int) -> Sequence[StepNumbers]:
        """Return the last `count` steps over the present reference; empty if there are fewer.

        If the reference is synced every n < count steps, return the last n.
        """
        count = min(count, self.sync_every or count)
        if len(self.history) < count or self.history[-count].step <= self.last_sync:
            return []
        return self.history[-count:]


def _broken(guards: Guards) -> str | None:
    window = guards.history[-WINDOW:]  # with any reference
    share = sum(s.skipped for s in window) / (WINDOW * guards.batch_size)
    if len(window) < WINDOW or share <= BROKEN:
        return None
    return (
        f"{share:.0%} of the images of the last {WINDOW} steps had a NaN or infinite error or loss; look for broken "
        "images among the likes, or set train.precision=no"
    )


def _collapse(guards: Guards) -> str | None:
    validated = guards.history[-1].held_out_liked
    if validated is not None and validated <= -COLLAPSE:
        return _collapse_sentence(guards, 1 - validated, "held-out liked images", "the base model's")
    window: list[StepNumbers] = []
    for s in reversed(guards.history):
        if s.step <= guards.last_sync or len(window) == COLLAPSE_STEPS:
            break
        if s.liked_log_ratio is not None and s.reference_error:
            window.insert(0, s)
    ratios = [_relative([s], "liked_log_ratio") for s in window]
    if len(ratios) < COLLAPSE_STEPS or any(ratio is None or ratio > -COLLAPSE for ratio in ratios):
        return None
    return _collapse_sentence(guards, 1 - (ratios[-1] or 0.0), "liked images", "the reference's")


def _collapse_sentence(guards: Guards, times: float, images: str, of: str) -> str:
    return (
        f"the model is forgetting how to generate images: its denoising error on {images} is {times:.3g} times {of}; "
        f"start a new run with a tenth of train.lr, or with {guards.advice.stay_close}"
    )


def _runaway(guards: Guards) -> str | None:
    long = guards.window(LASTING_LOSS_STEPS)
    long = long if len(long) == LASTING_LOSS_STEPS else []
    for window, limit in ((guards.window(WINDOW), RUNAWAY), (long, LASTING_LOSS)):
        liked, disliked = (_relative(window, f"{kind}_log_ratio") for kind in ("liked", "disliked"))
        if liked is not None and liked <= -limit:
            return _runaway_sentence(guards, liked, disliked)
    return None


def _runaway_sentence(guards: Guards, liked: float, disliked: float | None) -> str:
    if disliked is None or disliked > liked:
        return (
            f"the denoising error rose to {1 - liked:.3g} times the reference's on liked images, and no higher on "
            "disliked ones, so the steps are too large; start a new run with a lower train.lr"
        )
    return (
        f"the denoising error rose to {1 - disliked:.3g} times the reference's on disliked images, and to "
        f"{1 - liked:.3g} times on liked ones too; start a new run with a lower train.lr, with "
        f"{guards.advice.push_less}, or with {guards.advice.stay_close}"
    )


def _exploding(guards: Guards) -> str | None:
    disliked = _relative(guards.window(WINDOW), "disliked_log_ratio")
    if disliked is None or disliked > -EXPLODING:
        return None
    return (
        f"the denoising error on disliked images rose to {1 - disliked:.3g} times the reference's, without bound; "
        f"start a new run with a lower train.lr, with {guards.advice.push_less}, or with {guards.advice.stay_close}"
    )


def _beta_too_low(guards: Guards) -> str | None:
    window = guards.window(WINDOW)
    gains = [s.gain for s in window if s.gain is not None]
    ratios = [abs(_relative(window, f"{kind}_log_ratio") or 0.0) for kind in ("liked", "disliked")]
    if len(gains) < len(window) or not window or max(ratios) < MOVED or fmean(gains) >= STRAIGHT:
        return None
    return (
        f"beta is too low: the log-ratio has reached {max(ratios):.0%} of the reference's error, and the gain is only "
        f"{fmean(gains):.1g}, so nothing holds the policy near the reference; start a new run with objective.beta=auto"
    )


def _beta_too_high(guards: Guards) -> str | None:
    window = guards.window(SATURATED_STEPS)
    complete = [s for s in window if s.saturation is not None and s.beta is not None and s.reference_error is not None]
    if not window or len(complete) < len(window):
        return None
    share = fmean(s.saturation or 0.0 for s in complete)
    stiffness = fmean((s.beta or 0.0) * (1.0 if guards.is_relative else s.reference_error or 0.0) for s in complete)
    if share < SATURATED or stiffness < STIFF:
        return None
    return (
        f"beta is too high: a change of {1 / stiffness:.1g} of the reference's error is a gain of 1, so {share:.0%} of "
        f"the images of the last {len(window)} steps teach almost nothing; start a new run with a lower "
        "objective.beta, or auto"
    )


def _idle(guards: Guards) -> str | None:
    if guards.sync_every == 1:  # the policy equals the reference at every step, so its distance cannot be measured
        return None
    newest = guards.history[-1]
    measured = [_relative([newest], f"{kind}_log_ratio") for kind in ("liked", "disliked")]
    ratios = [abs(ratio) for ratio in (*measured, newest.held_out_liked) if ratio is not None]
    if not ratios:
        return None
    guards.has_moved = guards.has_moved or max(ratios) > IDLE
    if guards.has_moved or newest.step < max(IDLE_STEPS, IDLE_SHARE * guards.planned_steps):
        return None
    return (
        f"the model has learnt nothing in {newest.step} steps: its errors still equal the reference's; start a new run "
        "with a higher train.lr"
    )


def _disagreement(guards: Guards) -> str | None:
    values = [s.agreement for s in guards.history if s.agreement is not None]
    if guards.history[-1].agreement is None or len(values) < VALIDATIONS:
        return None
    newest, best = values[-VALIDATIONS:], max([CHANCE, *values[:-VALIDATIONS]])
    if max(newest) >= best - DEVIATIONS * guards.standard_error:
        return None
    if max(newest) < CHANCE - DEVIATIONS * guards.standard_error:
        return (
            f"agreement with held-out likes fell to {newest[-1]:.0%}, below the {CHANCE:.0%} of chance, so the model "
            "learns the opposite of them; check whether likes and dislikes are swapped in a part of the feedback"
        )
    return (
        f"agreement with held-out likes fell from {best:.0%} to {newest[-1]:.0%}, so the model is overfitting; start a "
        "new run with fewer train.steps, a lower train.lr, or more likes"
    )


def _overfitting(guards: Guards) -> str | None:
    values = [s.held_out_liked for s in guards.history if s.held_out_liked is not None]
    if guards.history[-1].held_out_liked is None or len(values) < VALIDATIONS:
        return None
    if max(values[-VALIDATIONS:]) > -OVERFITTING:
        return None
    return (
        f"the denoising error on held-out liked images rose to {1 - values[-1]:.3g} times the base model's, so the "
        "model is overfitting; start a new run with fewer train.steps, a lower train.lr, or more likes"
    )


_GUARDS: tuple[Callable[[Guards], str | None], ...] = (
    _broken, _collapse, _runaway, _exploding, _beta_too_low, _beta_too_high, _idle, _disagreement, _overfitting
)  # fmt: skip
# a finished training is kept even if it learnt little; not if it spoilt something
_GUARDS_AT_THE_END = (_broken, _collapse, _runaway, _exploding, _disagreement, _overfitting)


def best_step(steps: Sequence[StepNumbers], candidates: Sequence[int], standard_error: float = math.inf) -> int:
    """Return the best of the steps that have a checkpoint.

    Take those whose agreement with held-out likes is within a standard error of the highest (the one-standard-error
    rule of Breiman et al. 1984). Of these return the one whose window has the highest log-ratio of liked images. If
    held-out likes were validated without dislikes, return the one that denoises them best.
    """
    candidates = [c for c in candidates if _gives_numbers(steps, c)] or candidates
    agreement = {c: _validated(steps, c, "agreement", CHANCE) for c in candidates}
    highest = max(agreement.values())
    level = [c for c in candidates if not math.isfinite(standard_error) or agreement[c] >= highest - standard_error]
    likes_alone = any(s.held_out_liked is not None for s in steps)

    def score(at: int) -> float:
        return _validated(steps, at, "held_out_liked", 0.0) if likes_alone else _liked_gain(steps, at)

    return max(level, key=lambda c: (score(c), c))


def _gives_numbers(steps: Sequence[StepNumbers], at: int) -> bool:
    """Return whether the weights of a step gave finite errors; the next step shows it, or the last one its own."""
    witness = next((s for s in steps if s.step > at), steps[-1] if steps else None)
    return at == 0 or witness is None or witness.policy_error is not None


def _validated(steps: Sequence[StepNumbers], at: int, name: str, initial: float) -> float:
    """Return the validation at a step, else the next one, else the last: unvalidated weights must not pass as good."""
    if at == 0:
        return initial
    values = [(s.step, getattr(s, name)) for s in steps if getattr(s, name) is not None]
    later = [value for step, value in values if step >= at]
    return (later or [initial, *(value for _, value in values)][-1:])[0]


def _liked_gain(steps: Sequence[StepNumbers], upto: int) -> float:
    """Return how much better than the first reference liked images are denoised at a step; 0 at the beginning.

    Gains over earlier references, before each sync, are added.
    """
    total, window = 0.0, []
    for step in (s for s in steps if s.step <= upto):
        window = [*window[1 - WINDOW :], step]
        if step.synced:
            total, window = total + (_relative(window, "liked_log_ratio") or 0.0), []
    return total + (_relative(window, "liked_log_ratio") or 0.0)
