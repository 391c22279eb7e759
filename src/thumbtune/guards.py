"""Guards: what a training's own numbers say of it, in a sentence, before it wastes hours or spoils what it learnt.

    broken          most pictures of a window gave no finite error
    collapse        even liked pictures are denoised far worse than by the reference, several steps in a row
    runaway         disliked pictures are pushed away and take the liked ones along (known of Diffusion-DPO)
    straight        the policy has moved, and no utility felt it: beta is too low
    saturated       every thumb's gain is where the utility is flat: beta is too high, or there is no more to learn
    idle            after a quarter of the run the policy still is the reference
    disagreement    held-out likes are told from dislikes worse than by chance, or much worse than before

Nothing here knows a model: a guard is asked once a step with that step's numbers, which are the same on all processes.
Errors are compared with the reference's, so the thresholds hold for any model. They were set between two groups: 54
runs of the demos and of their search for settings, and plane runs of many seeds, none of which may trip; and runs with
one setting off by 100 or more, all of which must.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

WINDOW = 10  # steps that are averaged: one step's log-ratios are a few pictures at chance noise levels
# The liked error is twice the reference's: of healthy runs none lost a tenth of that over a window. Three steps in a
# row, since one step may hold a single liked picture.
COLLAPSE, COLLAPSE_STEPS = 1.0, 3
RUNAWAY = 0.5  # healthy runs on the plane, half of their thumbs dislikes, lose up to 0.26 for a while and come back
MOVED = 0.05  # log-ratios of 5% of the reference's error: the demos have passed it after 20 steps
# A median |gain| at which sigmoid' has changed by 1 in 40,000; with the demos' betas, MOVED is a gain of 0.3.
STRAIGHT = 0.01
SATURATED, SATURATED_STEPS = 0.985, 20  # share of images; of 54 runs of the demos, the most saturated had 0.97
BROKEN = 0.5  # share of pictures; up to it, the log and the report count them, and the rest goes on teaching
IDLE, IDLE_SHARE, IDLE_STEPS = 1e-6, 0.25, 50  # float32 errors differ by less when nothing but rounding moves them
DEVIATIONS = 3.0  # standard errors of an AUC that must lie between what is read and what it should be
READINGS = 2  # in a row: the same pictures are asked, but the policy moves on
CHANCE = 0.5


class Watched(Protocol):
    """What a guard looks at in a step; a `Step` of the trainer has it."""

    @property
    def step(self) -> int: ...
    @property
    def liked_log_ratio(self) -> float | None: ...
    @property
    def disliked_log_ratio(self) -> float | None: ...
    @property
    def reference_error(self) -> float | None: ...
    @property
    def gain(self) -> float | None: ...
    @property
    def saturation(self) -> float | None: ...
    @property
    def skipped(self) -> int: ...
    @property
    def refreshed(self) -> bool: ...
    @property
    def agreement(self) -> float | None: ...


def deviation_of_chance(liked: int, disliked: int) -> float:
    """The standard error of an AUC without any opinion (Mann and Whitney 1947), of so many of each kind.

    Give the number of prompts of each kind, not of pictures: pictures of one prompt are no independent trials.
    """
    return math.sqrt((liked + disliked + 1) / (12 * liked * disliked)) if liked and disliked else math.inf


def _relative(steps: Iterable[Watched], name: str) -> float | None:
    """Mean of a log-ratio over some steps, in units of the reference's error; None where there is none."""
    pairs = [(getattr(s, name), s.reference_error) for s in steps]
    known = [(ratio, error) for ratio, error in pairs if ratio is not None and error]
    return fmean(r for r, _ in known) / fmean(e for _, e in known) if known else None


@dataclass(kw_only=True)
class Guards:
    """Asked after every step; the first sentence that is not None ends the training.

    steps:     how many are planned
    batch:     images in each
    deviation: of an AUC by chance alone, for the likes that are held out; infinite where none are asked
    """

    steps: int
    batch: int
    deviation: float = math.inf
    seen: list[Watched] = field(default_factory=list)
    since: int = 0  # the step of the last refresh: log-ratios before it were over another reference
    moved: bool = False

    def watch(self, step: Watched) -> str | None:
        """What is wrong, and what to try; None where all is well."""
        self.seen.append(step)
        said = next((sentence for guard in _GUARDS if (sentence := guard(self)) is not None), None)
        if step.refreshed:
            self.since = step.step
        return said

    def last(self, count: int) -> Sequence[Watched]:
        """The last steps over the present reference: `count` of them, or none where there are not so many yet."""
        if len(self.seen) < count or self.seen[-count].step <= self.since:
            return []
        return self.seen[-count:]


def _broken(guards: Guards) -> str | None:
    window = guards.last(WINDOW)
    share = sum(s.skipped for s in window) / (WINDOW * guards.batch)
    if share <= BROKEN:
        return None
    return (
        f"{share:.0%} of the pictures of {WINDOW} steps gave no finite error; look for broken pictures among the "
        "likes, or set train.precision=no"
    )


def _collapse(guards: Guards) -> str | None:
    window = [s for s in guards.seen if s.step > guards.since and s.liked_log_ratio is not None and s.reference_error]
    window = window[-COLLAPSE_STEPS:]
    ratios = [_relative([s], "liked_log_ratio") for s in window]
    if len(ratios) < COLLAPSE_STEPS or any(ratio is None or ratio > -COLLAPSE for ratio in ratios):
        return None
    return (
        f"the model is forgetting how to draw: it denoises even liked pictures with {1 - (ratios[-1] or 0.0):.3g} "
        "times the reference's error; start a new run with a tenth of train.lr, or with a higher objective.beta or auto"
    )


def _runaway(guards: Guards) -> str | None:
    window = guards.last(WINDOW)
    liked, disliked = (_relative(window, f"{kind}_log_ratio") for kind in ("liked", "disliked"))
    if liked is None or liked > -RUNAWAY:
        return None
    if disliked is None or disliked > liked:
        return (
            f"liked pictures are denoised with {1 - liked:.3g} times the reference's error, and disliked ones no "
            "worse: the steps are too large to learn from; start a new run with a lower train.lr"
        )
    return (
        f"disliked pictures are pushed away ({1 - disliked:.3g} times the reference's error) and take the liked ones "
        f"along ({1 - liked:.3g} times); start a new run with a lower train.lr or objective.disliked_weight, or with a "
        "higher train.liked_share or objective.beta"
    )


def _straight(guards: Guards) -> str | None:
    window = guards.last(WINDOW)
    gains = [s.gain for s in window if s.gain is not None]
    ratios = [abs(_relative(window, f"{kind}_log_ratio") or 0.0) for kind in ("liked", "disliked")]
    if len(gains) < WINDOW or max(ratios) < MOVED or fmean(gains) >= STRAIGHT:
        return None
    return (
        f"beta is too low: log-ratios are {max(ratios):.0%} of the reference's error, and a gain is still only "
        f"{fmean(gains):.1g}, so that nothing holds the policy back; start a new run with objective.beta=auto"
    )


def _saturated(guards: Guards) -> str | None:
    shares = [s.saturation for s in guards.last(SATURATED_STEPS) if s.saturation is not None]
    if len(shares) < SATURATED_STEPS or fmean(shares) < SATURATED:
        return None
    return (
        f"{fmean(shares):.0%} of the images of {SATURATED_STEPS} steps have a gain so large that the utility is flat, "
        "so that they teach no more; if too little was learnt, start a new run with a lower objective.beta or auto"
    )


def _idle(guards: Guards) -> str | None:
    now = guards.seen[-1]
    ratios = [abs(_relative([now], f"{kind}_log_ratio") or 0.0) for kind in ("liked", "disliked")]
    guards.moved = guards.moved or max(ratios) > IDLE
    if guards.moved or now.step < max(IDLE_STEPS, IDLE_SHARE * guards.steps):
        return None
    return "nothing was learnt so far: the policy still is the reference; start a new run with a higher train.lr"


def _disagreement(guards: Guards) -> str | None:
    known = [s.agreement for s in guards.seen if s.agreement is not None]
    if guards.seen[-1].agreement is None or len(known) < READINGS:
        return None
    now, best = known[-READINGS:], max([CHANCE, *known[:-READINGS]])
    if max(now) >= best - DEVIATIONS * guards.deviation:
        return None
    if max(now) < CHANCE:
        return (
            f"agreement with held-out likes fell to {now[-1]:.0%}, and chance is {CHANCE:.0%}: what is learnt is the "
            "opposite of what they say; see that likes and dislikes are not swapped in a part of the thumbs"
        )
    return (
        f"agreement with held-out likes fell from {best:.0%} to {now[-1]:.0%}: the likes are learnt by heart; start a "
        "new run with fewer train.steps, a lower train.lr, or more likes"
    )


_GUARDS: tuple[Callable[[Guards], str | None], ...] = (
    _broken, _collapse, _runaway, _straight, _saturated, _idle, _disagreement
)  # fmt: skip


def best(steps: Sequence[Watched], candidates: Sequence[int], deviation: float = math.inf) -> int:
    """Of the steps whose weights were kept, the one to go back to.

    Those whose agreement with held-out likes is within a standard error of the highest (the one-standard-error rule of
    Breiman et al. 1984); of these the one whose window had the highest log-ratio of liked pictures.
    """
    agreement = {c: _reading(steps, c) for c in candidates}
    highest = max(agreement.values())
    level = [c for c in candidates if not math.isfinite(deviation) or agreement[c] >= highest - deviation]
    return max(level, key=lambda c: (_liked_until(steps, c), c))


def _reading(steps: Sequence[Watched], at: int) -> float:
    """The agreement read at a step, or else soon after it: weights that nobody asked must not pass for good ones."""
    if at == 0:
        return CHANCE
    known = [s for s in steps if s.agreement is not None]
    after = [s.agreement for s in known if s.step >= at]
    return (after or [CHANCE, *(s.agreement for s in known)][-1:])[0] or 0.0


def _liked_until(steps: Sequence[Watched], upto: int) -> float:
    """How much better than the reference liked pictures were denoised by then; no better at the beginning."""
    return _relative([s for s in steps if upto - WINDOW < s.step <= upto], "liked_log_ratio") or 0.0
