"""Analyse raters' answers: which side is preferred how often, with what interval, and how consistent each rater is.

    share     mean over prompts of the mean over their answers of  1 (B), 1/2 (no preference), 0 (A)
    interval  bootstrap over whole prompts; joined with Wilson's, n = prompts, for few prompts or one answer each
    repeats   a pair is shown again with exchanged sides; a consistent rater chooses the same image

The prompt is the unit, as in a duel: the interval covers other prompts, not other raters. Only first showings count;
repeats only check the rater.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from thumbtune.errors import UsageError
from thumbtune.evaluation.human.answers import Answer, AnswerFile
from thumbtune.evaluation.human.plan import Study, Trial
from thumbtune.evaluation.standings import MAX_DISTANCE, MIN_PROMPTS_OF_ADVICE
from thumbtune.evaluation.statistics import Interval, wilson
from thumbtune.evaluation.win_rates import (
    CHANCE,
    MIN_BOOTSTRAP_PROMPTS,
    Estimand,
    WinRate,
    careful_interval,
    units,
    win_rate,
)

MIN_REPEAT_AGREEMENT = 0.5  # raters who agree with themselves in a smaller share of repeats are left out
# a bootstrap over fewer prompts errs in up to 11 of 100 cases (simulated raters who choose by chance)
MIN_REPEATS_TO_EXCLUDE = 2  # a single contradiction may be a slip
PreferenceFinding = Literal["b", "a", "equal", "open"]
VoteCounts = tuple[int, int, int]  # for B, no preference, for A


@dataclass(frozen=True, kw_only=True)
class Rater:
    """One rater's answers in numbers.

    share: share of answers for B, with no preference as half; None if only repeats were answered
    agreed: number of repeats with the same answer; "no preference" once and an image once counts half
    seconds: median over all answers
    careless: whether the rater contradicts themselves in more than half of the repeats
    """

    name: str
    answers: int
    votes: VoteCounts
    share: float | None
    repeats: int
    agreed: float
    seconds: float
    left: int
    right: int
    careless: bool
    counted: bool


@dataclass(frozen=True, kw_only=True)
class PositionBias:
    """How often counted raters chose the left image when they chose an image, over all showings."""

    left: int
    right: int
    share: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Preference:
    """The preference over all prompts or the prompts of a style.

    votes: number of answers for B, without preference, for A
    interval: the interval that decides `finding`
    more_prompts: number of new prompts with similar answers that would decide; None if no number would, or if there
        are too few prompts to estimate it
    more_votes: number of answers for these prompts
    """

    votes: VoteCounts
    rate: WinRate
    interval: Interval
    finding: PreferenceFinding
    more_prompts: int | None
    more_votes: int | None


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The result of a study. each: the votes on every answered pair, by the id of its first showing."""

    overall: Preference
    styles: dict[str, Preference]
    raters: list[Rater]
    bias: PositionBias | None
    each: dict[str, VoteCounts]


def analyse(study: Study, files: Sequence[AnswerFile], keep_careless: bool = False) -> StudyResult:
    """Return the result of a study.

    Args:
        files: the answers of each rater and sitting, from `read_answer_files`.
        keep_careless: also count raters who contradict themselves in more than half of their repeats.

    Raises:
        UsageError: there is nothing to count.
    """
    if not files:
        raise UsageError("There are no answers; give the files that raters sent back.", code="human-nothing-to-count")
    trials = {trial.id: trial for trial in study.trials}
    raters = [_rater(file, trials, keep_careless) for file in files]
    counted = [file for file, rater in zip(files, raters, strict=True) if rater.counted]
    if not counted:
        raise UsageError(
            "All raters contradict themselves in more than half of their repeats, so there is nothing to count; "
            "--keep-careless counts them.",
            code="human-all-careless",
        )
    each = {trial.id: _votes(trial, counted) for trial in study.first_showings}
    each = {name: votes for name, votes in each.items() if sum(votes)}
    if not each:
        raise UsageError(
            "All answers are to repeated pairs, so there is nothing to count; ask for more answers.",
            code="human-only-repeats",
        )
    answered = [trials[name] for name in each]
    styles = dict.fromkeys(trial.pair.style for trial in answered if trial.pair.style is not None)
    return StudyResult(
        overall=_preference(answered, each),
        styles={
            style: _preference([trial for trial in answered if trial.pair.style == style], each) for style in styles
        },
        raters=raters,
        bias=_bias([rater for rater in raters if rater.counted]),
        each=each,
    )


def preferred(trial: Trial, answer: Answer) -> float:
    """Return 1 if the answer prefers B, 0 if A, 1/2 if neither."""
    if answer.choice == "tie":
        return 0.5
    return float((answer.choice == "left") == (trial.left == "b"))


def _rater(file: AnswerFile, trials: dict[str, Trial], keep_careless: bool) -> Rater:
    values = {answer.id: preferred(trials[answer.id], answer) for answer in file.answers}
    votes = _count_votes(value for name, value in values.items() if trials[name].repeats is None)
    pairs = [(values[first], values[name]) for name in values if (first := trials[name].repeats) in values and first]
    agreed = sum((1 - abs(first - again) for first, again in pairs), 0.0)
    careless = len(pairs) >= MIN_REPEATS_TO_EXCLUDE and agreed < MIN_REPEAT_AGREEMENT * len(pairs)
    choices = Counter(answer.choice for answer in file.answers)
    return Rater(
        name=file.rater,
        answers=len(file.answers),
        votes=votes,
        share=(votes[0] + votes[1] / 2) / sum(votes) if sum(votes) else None,
        repeats=len(pairs),
        agreed=agreed,
        seconds=median(answer.seconds for answer in file.answers),
        left=choices["left"],
        right=choices["right"],
        careless=careless,
        counted=keep_careless or not careless,
    )


def _count_votes(values: Iterable[float]) -> VoteCounts:
    counts = Counter(values)
    return counts[1.0], counts[0.5], counts[0.0]


def _votes(trial: Trial, files: Iterable[AnswerFile]) -> VoteCounts:
    """Return the votes of all raters on one trial."""
    answers = (answer for file in files for answer in file.answers if answer.id == trial.id)
    return _count_votes(preferred(trial, answer) for answer in answers)


def _preference(trials: Sequence[Trial], each: dict[str, VoteCounts]) -> Preference:
    """Return the preference over some trials, with 1, 0 and -1 as scores: [prompts, answers], padded with NaN."""
    prompts: dict[int, list[float]] = {}
    first: dict[int, Trial] = {}
    for trial in trials:
        b, tie, a = each[trial.id]
        prompts.setdefault(trial.pair.prompt, []).extend([1.0] * b + [0.0] * tie + [-1.0] * a)
        first.setdefault(trial.pair.prompt, trial)
    width = max(map(len, prompts.values()))
    after = np.array([row + [np.nan] * (width - len(row)) for row in prompts.values()])
    unit = units([trial.pair.words for trial in first.values()], [trial.pair.style for trial in first.values()])
    estimand: Estimand = "median" if width == 1 else "pairwise"  # equal for one answer
    rate = win_rate(np.where(np.isnan(after), np.nan, 0.0), after, unit, estimand)
    votes = (rate.wins, rate.ties, rate.losses)
    interval = careful_interval(rate.estimand, rate.distinct, rate.bootstrap, rate.wilson)
    more = _more_prompts(rate)
    return Preference(
        votes=votes,
        rate=rate,
        interval=interval,
        finding=_finding(interval),
        more_prompts=more,
        more_votes=None if more is None else math.ceil(more * sum(votes) / rate.distinct),
    )


def _finding(interval: Interval) -> PreferenceFinding:
    if interval.low > CHANCE:
        return "b"
    if interval.high < CHANCE:
        return "a"
    return "equal" if interval.low >= CHANCE - MAX_DISTANCE and interval.high <= CHANCE + MAX_DISTANCE else "open"


def _more_prompts(rate: WinRate) -> int | None:
    """Return the number of new prompts that decide; at least enough for a reliable bootstrap."""
    if rate.more_prompts is None or rate.distinct < MIN_PROMPTS_OF_ADVICE:
        return None
    return max(rate.more_prompts, MIN_BOOTSTRAP_PROMPTS - rate.distinct)


def _bias(raters: Iterable[Rater]) -> PositionBias | None:
    """Return the bias; None if no rater chose an image."""
    left, right = map(sum, zip(*((rater.left, rater.right) for rater in raters), strict=True))
    if not left + right:
        return None
    return PositionBias(left=left, right=right, share=left / (left + right), interval=wilson(float(left), left + right))
