"""What raters' answers come to: who is preferred how often, how sure that is, and how far each rater can be trusted.

    share     mean over prompts of the mean over their answers of  1 (B), 1/2 (no preference), 0 (A)
    interval  bootstrap over whole prompts; and Wilson's, n = prompts, where these are too few, or have one answer each
    repeats   a pair that is shown again with its sides exchanged: the same image should be chosen

The prompt is the unit, as in a duel: the interval speaks for other prompts, and not for other raters. Only first
showings are counted; repeats judge the rater.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from thumbtune.errors import UsageError
from thumbtune.evaluation.human.answers import Answer, Ballot
from thumbtune.evaluation.human.plan import Study, Trial
from thumbtune.evaluation.standings import MAX_DISTANCE, MIN_PROMPTS_OF_ADVICE
from thumbtune.evaluation.statistics import Interval, wilson
from thumbtune.evaluation.win_rates import CHANCE, Estimand, WinRate, units, win_rate

CARELESS = 0.5  # of the repeats; raters who agree with themselves less often are left out
TRUSTED = 20  # prompts: drawn from fewer, a bootstrap errs in up to 11 of 100 cases (chance raters, simulated)
LEAST_SEEN = 2  # repeats, below which nobody is left out: one slip is no proof
Finding = Literal["b", "a", "equal", "open"]
Votes = tuple[int, int, int]  # for B, no preference, for A


@dataclass(frozen=True, kw_only=True)
class Rater:
    """What one rater said.

    share: of B, no preference for half; None where only repeats were answered
    agreed: repeats answered as before; one answered by "no preference" once and by an image once counts half
    seconds: the median over all answers
    """

    name: str
    answers: int
    votes: Votes
    share: float | None
    repeats: int
    agreed: float
    seconds: float
    left: int
    right: int
    careless: bool
    counted: bool


@dataclass(frozen=True, kw_only=True)
class Bias:
    """How often the left image was chosen where either was, in all showings, by those who are counted."""

    left: int
    right: int
    share: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Who is preferred, of all prompts or of a style.

    votes: answers for B, without preference, for A
    interval: the one that `finding` rests on
    more_prompts: how many new ones, answered like these, would tell; None where none would, or where there are too
        few to foretell anything
    more_votes: the answers that these take
    """

    votes: Votes
    rate: WinRate
    interval: Interval
    finding: Finding
    more_prompts: int | None
    more_votes: int | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that the answers come to. each: the votes for every pair that has some, by the id of its first showing."""

    overall: Standing
    styles: dict[str, Standing]
    raters: list[Rater]
    bias: Bias | None
    each: dict[str, Votes]


def analyse(study: Study, ballots: Sequence[Ballot], keep_careless: bool = False) -> Outcome:
    """Count the answers.

    Args:
        ballots: one for each rater and sitting, as `read_ballots` gives them.
        keep_careless: count raters too who contradict themselves in more than half of their repeats.

    Raises:
        UsageError: nothing is left to count.
    """
    if not ballots:
        raise UsageError("There are no answers; give the files that raters sent back.")
    trials = {trial.id: trial for trial in study.trials}
    raters = [_rater(ballot, trials, keep_careless) for ballot in ballots]
    counted = [ballot for ballot, rater in zip(ballots, raters, strict=True) if rater.counted]
    if not counted:
        raise UsageError(
            "All raters contradict themselves in more than half of their repeats, so nothing is counted; "
            "--keep-careless counts them all the same."
        )
    each = {trial.id: _votes(trial, counted) for trial in study.first_showings}
    each = {name: votes for name, votes in each.items() if sum(votes)}
    if not each:
        raise UsageError("The answers are to repeated pairs alone, so nothing can be counted; ask for further answers.")
    asked = [trials[name] for name in each]
    styles = dict.fromkeys(trial.pair.style for trial in asked if trial.pair.style is not None)
    return Outcome(
        overall=_standing(asked, each),
        styles={style: _standing([t for t in asked if t.pair.style == style], each) for style in styles},
        raters=raters,
        bias=_bias([rater for rater in raters if rater.counted]),
        each=each,
    )


def preferred(trial: Trial, answer: Answer) -> float:
    """1 if the answer prefers B, 0 if A, 1/2 if neither."""
    if answer.choice == "tie":
        return 0.5
    return float((answer.choice == "left") == (trial.left == "b"))


def _rater(ballot: Ballot, trials: dict[str, Trial], keep_careless: bool) -> Rater:
    said = {answer.id: preferred(trials[answer.id], answer) for answer in ballot.answers}
    votes = _counted(value for name, value in said.items() if trials[name].repeats is None)
    pairs = [(said[first], said[name]) for name in said if (first := trials[name].repeats) in said and first]
    agreed = sum((1 - abs(first - again) for first, again in pairs), 0.0)
    careless = len(pairs) >= LEAST_SEEN and agreed < CARELESS * len(pairs)
    choices = Counter(answer.choice for answer in ballot.answers)
    return Rater(
        name=ballot.rater,
        answers=len(ballot.answers),
        votes=votes,
        share=(votes[0] + votes[1] / 2) / sum(votes) if sum(votes) else None,
        repeats=len(pairs),
        agreed=agreed,
        seconds=median(answer.seconds for answer in ballot.answers),
        left=choices["left"],
        right=choices["right"],
        careless=careless,
        counted=keep_careless or not careless,
    )


def _counted(values: Iterable[float]) -> Votes:
    number = Counter(values)
    return number[1.0], number[0.5], number[0.0]


def _votes(trial: Trial, ballots: Iterable[Ballot]) -> Votes:
    """What all raters say of one trial."""
    return _counted(preferred(trial, answer) for one in ballots for answer in one.answers if answer.id == trial.id)


def _standing(trials: Sequence[Trial], each: dict[str, Votes]) -> Standing:
    """The win rate of some trials, from 1, 0 and -1 in place of scores: [prompts, answers], padded with NaN."""
    prompts: dict[int, list[float]] = {}
    first: dict[int, Trial] = {}
    for trial in trials:
        b, tie, a = each[trial.id]
        prompts.setdefault(trial.pair.prompt, []).extend([1.0] * b + [0.0] * tie + [-1.0] * a)
        first.setdefault(trial.pair.prompt, trial)
    width = max(map(len, prompts.values()))
    after = np.array([row + [np.nan] * (width - len(row)) for row in prompts.values()])
    unit = units([one.pair.words for one in first.values()], [one.pair.style for one in first.values()])
    estimand: Estimand = "median" if width == 1 else "pairwise"  # of one answer they are the same
    rate = win_rate(np.where(np.isnan(after), np.nan, 0.0), after, unit, estimand)
    votes = (rate.wins, rate.ties, rate.losses)
    interval = _careful(rate)
    more = _more_prompts(rate)
    return Standing(
        votes=votes,
        rate=rate,
        interval=interval,
        finding=_finding(interval),
        more_prompts=more,
        more_votes=None if more is None else math.ceil(more * sum(votes) / rate.distinct),
    )


def _careful(rate: WinRate) -> Interval:
    """The bootstrap's; and Wilson's as well where each prompt is one vote, or prompts are too few to draw from."""
    kinds = [rate.bootstrap]
    if rate.estimand == "median" or rate.distinct < TRUSTED or rate.bootstrap.low == rate.bootstrap.high:
        kinds.append(rate.wilson)
    return Interval(min(kind.low for kind in kinds), max(kind.high for kind in kinds))


def _finding(interval: Interval) -> Finding:
    if interval.low > CHANCE:
        return "b"
    if interval.high < CHANCE:
        return "a"
    return "equal" if interval.low >= CHANCE - MAX_DISTANCE and interval.high <= CHANCE + MAX_DISTANCE else "open"


def _more_prompts(rate: WinRate) -> int | None:
    """So many that the bootstrap can be trusted, at least."""
    if rate.more_prompts is None or rate.distinct < MIN_PROMPTS_OF_ADVICE:
        return None
    return max(rate.more_prompts, TRUSTED - rate.distinct)


def _bias(raters: Iterable[Rater]) -> Bias | None:
    """None where nobody chose an image."""
    left, right = map(sum, zip(*((rater.left, rater.right) for rater in raters), strict=True))
    if not left + right:
        return None
    return Bias(left=left, right=right, share=left / (left + right), interval=wilson(float(left), left + right))
