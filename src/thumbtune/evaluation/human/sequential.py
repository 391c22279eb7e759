"""A stopping rule that is set before a human test: stop as soon as a sequential test tells the sides apart.

    E_n = B(1 + b, 1 + a) / (B(1, 1) * (1/2)^(a + b))        of n = a + b prompts, b of which prefer B, and a A

Where neither side is preferred, E is a martingale that begins at 1: the mean over all shares p, evenly weighted, of the
likelihood ratio of p against 1/2. By Ville's inequality it ever reaches 1 / 0.05 = 20 with a chance of at most 5 %,
however often one looks; so the test may stop there, and only there. The same holds for the likelihood of any share p in
the place of 1/2, which gives an interval that is valid at every n.

Robbins, Ann. Math. Stat. 41 (1970) 1397, for the mixture; Howard, Ramdas, McAuliffe, Sekhon, Ann. Stat. 49 (2021) 1055,
arXiv 1810.08240, for intervals that hold at all times.

A prompt counts once, by the first answer to it: answers to one prompt depend on each other. Ties count for neither.

The order must never change later, so answers count as they arrive: in the studio by its clock, where a first answer
that is changed or taken back keeps its place and its choice. Files of raters tell no arrival, so a sitting counts once
it is complete, at its end; one that comes in after others which ended later would change the past, so read together
what ended before.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from thumbtune.evaluation.human.analysis import preferred
from thumbtune.evaluation.human.answers import Answer, AnswerFile, seconds_of
from thumbtune.evaluation.human.plan import Study, Trial
from thumbtune.evaluation.statistics import Interval

CHANCE_OF_ERROR = 0.05
DECIDES = 1 / CHANCE_OF_ERROR
HALF = 0.5
NEAREST = 1e-12  # of a share to 0 or 1


@dataclass(frozen=True, kw_only=True)
class Sequential:
    """What the rule says: the prompts that prefer each side, and which side it decided for, at which prompt.

    evidence: E of all answers so far; interval: of the share of prompts that prefer B, among those that prefer a side
    """

    b: int
    ties: int
    a: int
    evidence: float
    interval: Interval
    decided: Literal["a", "b"] | None
    decided_at: int | None


def log_evidence(b: int, a: int, share: float = HALF) -> float:
    """Return log E against a share of B.

    >>> round(math.exp(log_evidence(8, 0)), 2)     # 2^8 / 9
    28.44
    >>> log_evidence(0, 0)
    0.0
    """
    return float(betaln(1 + b, 1 + a) - xlogy(b, share) - xlog1py(a, -share))


def interval_of(b: int, a: int) -> Interval:
    """Return the shares of B that are not ruled out: those against which E is below 20. It is valid at every n.

    >>> interval_of(0, 0)
    Interval(low=0.0, high=1.0)
    """
    best = b / (a + b) if a + b else HALF

    def excess(share: float) -> float:
        return log_evidence(b, a, share) - math.log(DECIDES)

    low = float(brentq(excess, NEAREST, best)) if b and excess(NEAREST) > 0 else 0.0  # type: ignore[arg-type]
    high = float(brentq(excess, best, 1 - NEAREST)) if a and excess(1 - NEAREST) > 0 else 1.0  # type: ignore[arg-type]
    return Interval(low, high)


def decide(preferences: Iterable[float]) -> Sequential:
    """Return what the rule says of prompts in the order of their first answers: 1 for B, 0 for A, 1/2 for neither."""
    b = a = ties = 0
    decided: Literal["a", "b"] | None = None
    decided_at = None
    for place, value in enumerate(preferences, start=1):
        b, ties, a = b + (value == 1), ties + (value == HALF), a + (value == 0)
        if decided is None and log_evidence(b, a) >= math.log(DECIDES):
            decided, decided_at = "b" if b > a else "a", place
    evidence = math.exp(min(log_evidence(b, a), 700))  # the largest that a float holds
    return Sequential(
        b=b, ties=ties, a=a, evidence=evidence, interval=interval_of(b, a), decided=decided, decided_at=decided_at
    )


def decide_study(study: Study, files: Sequence[AnswerFile]) -> Sequential:
    """Return what the rule says of raters' answers so far, all raters together, in the order of their arrival."""
    trials = {trial.id: trial for trial in study.first_showings}
    answers = sorted(_timed(files), key=lambda one: one[0])
    return decide(_first_of_prompts((trials[answer.id], answer) for _, answer in answers if answer.id in trials))


def _first_of_prompts(answers: Iterable[tuple[Trial, Answer]]) -> Iterator[float]:
    """Yield the preference of each prompt at its first answer."""
    known = set()
    for trial, answer in answers:
        if trial.pair.words not in known:  # equal words are one prompt
            known.add(trial.pair.words)
            yield preferred(trial, answer)


def _timed(files: Sequence[AnswerFile]) -> Iterator[tuple[tuple[float, str, int], Answer]]:
    """Yield each answer that counts, with when it does: at its arrival, or at the end of its complete sitting."""
    for file in files:
        if file.arrivals is not None:
            for place, arrival in enumerate(file.arrivals):
                yield (arrival.at, file.rater, place), arrival.answer
        elif file.finished is not None:
            for place, answer in enumerate(file.answers):
                yield (seconds_of(file.finished), file.rater, place), answer
