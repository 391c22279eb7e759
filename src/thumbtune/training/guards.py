"""Guards: what a training's own numbers say of it, in a sentence, before it wastes hours or spoils what it learnt.

    broken          most images of a window gave no finite error
    collapse        even liked images are denoised far worse than by the reference, several steps in a row
    runaway         disliked images are pushed away and take the liked ones along (known of Diffusion-DPO)
    exploding       disliked images are pushed away without end, whatever becomes of the liked ones
    straight        the policy has moved, and no utility felt it: beta is too low
    saturated       every thumb is where the utility is flat, by a beta that the slightest change takes there
    idle            after a quarter of the run the policy still is the reference
    disagreement    held-out likes are told from dislikes worse than by chance, or much worse than before
    unseen          held-out likes are denoised worse than by the base, where they are not set against dislikes

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

WINDOW = 10  # steps that are averaged: one step's log-ratios are a few images at chance noise levels
# The liked error is twice the reference's: of healthy runs none lost a tenth of that over a window. Three steps in a
# row, since one step may hold a single liked image.
COLLAPSE, COLLAPSE_STEPS = 1.0, 3
RUNAWAY = 0.5  # healthy runs on the plane, half of their thumbs dislikes, lose up to 0.26 for a while and come back
FOR_GOOD, FOR_GOOD_STEPS = 0.3, 50  # less is enough where it lasts: such a dip of a healthy run is over by then
# Of healthy runs of the bundled model, disliked images have come to 10 times the reference's error.
EXPLODING = 100.0
MOVED = 0.05  # log-ratios of 5% of the reference's error: the demos have passed it after 20 steps
# A median |gain| at which sigmoid' has changed by 1 in 40,000; with the demos' betas, MOVED is a gain of 0.3.
STRAIGHT = 0.01
# Share of images. The paper's beta saturates healthy runs too, which go on learning; there beta times the reference's
# error is some 1,000, a thousandth of that error a gain of 1. Told from them is a beta that is 20 times as high.
SATURATED, SATURATED_STEPS, STIFF = 0.985, 20, 20_000.0
BROKEN = 0.5  # share of images; up to it, the log and the report count them, and the rest goes on teaching
IDLE, IDLE_SHARE, IDLE_STEPS = 1e-6, 0.25, 50  # float32 errors differ by less when nothing but rounding moves them
DEVIATIONS = 3.0  # standard errors of an AUC that must lie between what is read and what it should be
UNSEEN = 0.1  # of the base's error: as in COLLAPSE, healthy runs lose less, and of held-out likes they gain
READINGS = 2  # in a row: the same images are asked, but the policy moves on
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


def deviation_of_chance(liked: int, disliked: int) -> float:
    """The standard error of an AUC without any opinion (Mann and Whitney 1947), of so many of each kind.

    Give the number of prompts of each kind, not of images: images of one prompt are no independent trials.
    """
    return math.sqrt((liked + disliked + 1) / (12 * liked * disliked)) if liked and disliked else math.inf


def _relative(steps: Iterable[Watched], name: str) -> float | None:
    """Mean of a log-ratio over some steps, in units of the reference's error; None where there is none."""
    pairs = [(getattr(s, name), s.reference_error) for s in steps]
    known = [(ratio, error) for ratio, error in pairs if ratio is not None and error]
    return fmean(r for r, _ in known) / fmean(e for _, e in known) if known else None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a run's objective has to offer: `hold` keeps the policy nearer, `spare` pushes dislikes away less."""

    hold: str = "a higher objective.beta or auto"
    spare: str = "a lower objective.disliked_weight or a higher train.liked_share"


@dataclass(kw_only=True)
class Guards:
    """Asked after every step; the first sentence that is not None ends the training.

    steps:     how many are planned
    refresh:   steps between refreshes of the reference, over which log-ratios can be averaged; 0: all
    batch:     images in each
    deviation: of an AUC by chance alone, for the likes that are held out; infinite where none are asked
    """

    steps: int
    batch: int
    deviation: float = math.inf
    refresh: int = 0
    advice: Advice = field(default_factory=Advice)
    seen: list[Watched] = field(default_factory=list)
    since: int = 0  # the step of the last refresh: log-ratios before it were over another reference
    moved: bool = False

    def watch(self, step: Watched) -> str | None:
        """What is wrong, and what to try; None where all is well."""
        self.seen.append(step)
        guards = _GUARDS if step.step < self.steps else _AT_THE_END
        said = next((sentence for guard in guards if (sentence := guard(self)) is not None), None)
        if step.synced:
            self.since = step.step
        return said

    def last(self, count: int) -> Sequence[Watched]:
        """The last steps over the present reference: `count` of them, or none where there are not so many yet.

        A reference that is synced more often than that is judged by as many steps as it has.
        """
        count = min(count, self.refresh or count)
        if len(self.seen) < count or self.seen[-count].step <= self.since:
            return []
        return self.seen[-count:]


def _broken(guards: Guards) -> str | None:
    window = guards.seen[-WINDOW:]  # whatever their reference
    share = sum(s.skipped for s in window) / (WINDOW * guards.batch)
    if len(window) < WINDOW or share <= BROKEN:
        return None
    return (
        f"{share:.0%} of the images of {WINDOW} steps gave no finite error or loss; look for broken images among "
        "the likes, or set train.precision=no"
    )


def _collapse(guards: Guards) -> str | None:
    window: list[Watched] = []
    for s in reversed(guards.seen):
        if s.step <= guards.since or len(window) == COLLAPSE_STEPS:
            break
        if s.liked_log_ratio is not None and s.reference_error:
            window.insert(0, s)
    ratios = [_relative([s], "liked_log_ratio") for s in window]
    if len(ratios) < COLLAPSE_STEPS or any(ratio is None or ratio > -COLLAPSE for ratio in ratios):
        return None
    return (
        f"the model is forgetting how to draw: it denoises even liked images with {1 - (ratios[-1] or 0.0):.3g} "
        f"times the reference's error; start a new run with a tenth of train.lr, or with {guards.advice.hold}"
    )


def _runaway(guards: Guards) -> str | None:
    long = guards.last(FOR_GOOD_STEPS)
    for window, most in ((guards.last(WINDOW), RUNAWAY), (long if len(long) == FOR_GOOD_STEPS else [], FOR_GOOD)):
        liked, disliked = (_relative(window, f"{kind}_log_ratio") for kind in ("liked", "disliked"))
        if liked is not None and liked <= -most:
            return _ran_away(guards, liked, disliked)
    return None


def _ran_away(guards: Guards, liked: float, disliked: float | None) -> str:
    if disliked is None or disliked > liked:
        return (
            f"liked images are denoised with {1 - liked:.3g} times the reference's error, and disliked ones no "
            "worse: the steps are too large to learn from; start a new run with a lower train.lr"
        )
    return (
        f"disliked images are pushed away ({1 - disliked:.3g} times the reference's error) and take the liked ones "
        f"along ({1 - liked:.3g} times); start a new run with a lower train.lr, with {guards.advice.spare}, or with "
        f"{guards.advice.hold}"
    )


def _exploding(guards: Guards) -> str | None:
    disliked = _relative(guards.last(WINDOW), "disliked_log_ratio")
    if disliked is None or disliked > -EXPLODING:
        return None
    return (
        f"disliked images are pushed away without end ({1 - disliked:.3g} times the reference's error): nothing "
        f"bounds them any more; start a new run with a lower train.lr, with {guards.advice.spare}, or with "
        f"{guards.advice.hold}"
    )


def _straight(guards: Guards) -> str | None:
    window = guards.last(WINDOW)
    gains = [s.gain for s in window if s.gain is not None]
    ratios = [abs(_relative(window, f"{kind}_log_ratio") or 0.0) for kind in ("liked", "disliked")]
    if len(gains) < len(window) or not window or max(ratios) < MOVED or fmean(gains) >= STRAIGHT:
        return None
    return (
        f"beta is too low: log-ratios are {max(ratios):.0%} of the reference's error, and a gain is still only "
        f"{fmean(gains):.1g}, so that nothing holds the policy back; start a new run with objective.beta=auto"
    )


def _saturated(guards: Guards) -> str | None:
    window = guards.last(SATURATED_STEPS)
    known = [s for s in window if s.saturation is not None and s.beta is not None and s.reference_error is not None]
    if not window or len(known) < len(window):
        return None
    share = fmean(s.saturation or 0.0 for s in known)
    stiff = fmean((s.beta or 0.0) * (s.reference_error or 0.0) for s in known)
    if share < SATURATED or stiff < STIFF:
        return None
    return (
        f"beta is too high: a change of {1 / stiff:.1g} of the reference's error is a gain of 1, and {share:.0%} of "
        f"the images of {len(window)} steps are where the utility is flat; start a new run with a lower objective.beta "
        "or auto"
    )


def _idle(guards: Guards) -> str | None:
    if guards.refresh == 1:  # the policy is the reference whenever it is judged, and how far it has come is not seen
        return None
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
    if max(now) < CHANCE - DEVIATIONS * guards.deviation:
        return (
            f"agreement with held-out likes fell to {now[-1]:.0%}, and chance is {CHANCE:.0%}: what is learnt is the "
            "opposite of what they say; see that likes and dislikes are not swapped in a part of the thumbs"
        )
    return (
        f"agreement with held-out likes fell from {best:.0%} to {now[-1]:.0%}: the likes are learnt by heart; start a "
        "new run with fewer train.steps, a lower train.lr, or more likes"
    )


def _unseen(guards: Guards) -> str | None:
    known = [s.held_out_liked for s in guards.seen if s.held_out_liked is not None]
    if guards.seen[-1].held_out_liked is None or len(known) < READINGS or max(known[-READINGS:]) > -UNSEEN:
        return None
    return (
        f"held-out liked images are denoised with {1 - known[-1]:.3g} times the error that they had at first: "
        "what is learnt of the likes does not hold for others; start a new run with fewer train.steps, a lower "
        "train.lr, or more likes"
    )


_GUARDS: tuple[Callable[[Guards], str | None], ...] = (
    _broken, _collapse, _runaway, _exploding, _straight, _saturated, _idle, _disagreement, _unseen
)  # fmt: skip
# a finished training is not thrown away for having learnt little; for having spoilt something it is
_AT_THE_END = (_broken, _collapse, _runaway, _exploding, _disagreement, _unseen)


def best(steps: Sequence[Watched], candidates: Sequence[int], deviation: float = math.inf) -> int:
    """Of the steps whose weights were kept, the one to go back to.

    Those whose agreement with held-out likes is within a standard error of the highest (the one-standard-error rule of
    Breiman et al. 1984); of these the one whose window had the highest log-ratio of liked images. Where held-out
    likes were asked alone, it is the one that denoised them best.
    """
    candidates = [c for c in candidates if _draws(steps, c)] or candidates
    agreement = {c: _read(steps, c, "agreement", CHANCE) for c in candidates}
    highest = max(agreement.values())
    level = [c for c in candidates if not math.isfinite(deviation) or agreement[c] >= highest - deviation]
    alone = any(s.held_out_liked is not None for s in steps)
    return max(level, key=lambda c: (_read(steps, c, "held_out_liked", 0.0) if alone else _liked_until(steps, c), c))


def _draws(steps: Sequence[Watched], at: int) -> bool:
    """Whether a network still gave numbers with the weights of a step: the next step tells, or the step itself."""
    told = next((s for s in steps if s.step > at), steps[-1] if steps else None)
    return at == 0 or told is None or told.reference_error is not None


def _read(steps: Sequence[Watched], at: int, name: str, beginning: float) -> float:
    """What was read at a step, or else soon after it: weights that nobody asked must not pass for good ones."""
    if at == 0:
        return beginning
    known = [(s.step, getattr(s, name)) for s in steps if getattr(s, name) is not None]
    after = [value for step, value in known if step >= at]
    return (after or [beginning, *(value for _, value in known)][-1:])[0]


def _liked_until(steps: Sequence[Watched], upto: int) -> float:
    """How much better than the first reference liked images were denoised by then; no better at the beginning.

    What was gained over a reference that was synced is kept and added.
    """
    total, window = 0.0, []
    for step in (s for s in steps if s.step <= upto):
        window = [*window[1 - WINDOW :], step]
        if step.synced:
            total, window = total + (_relative(window, "liked_log_ratio") or 0.0), []
    return total + (_relative(window, "liked_log_ratio") or 0.0)
