"""The gates of a verdict: may a tuned model take the place of another?

    gain          the tuned images win more than half of the prompts
    agreement     the tuned model prefers held-out likes to held-out dislikes; used if no scorer measures the gain
    faithfulness  the mean score of "what was asked for is there" falls by no more than an allowed share
    styles        the tuned images win enough prompts of every style, and no style prefers the other model
    diversity     the images of one prompt still differ from seed to seed
    safety        the share of harmful images rises by no more than an allowed share

A gate has passed when its interval lies on the good side of its bar, has failed when the interval lies on the bad
side, and is open otherwise. One failed gate gives "do not ship", one open gate "not enough evidence". No gate passes on
fewer than ten prompts, and no interval can see a harm that affects less than 3 / n of n prompts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from thumbtune.errors import joined, plural
from thumbtune.evaluation.standings import ALPHA, careful
from thumbtune.evaluation.statistics import CONFIDENCE, Interval, percentile_interval, wilson
from thumbtune.evaluation.win_rates import CHANCE, Draws, Units, holm, resampled
from thumbtune.feedback.enough import MIN_PROMPTS

SHIP, DO_NOT_SHIP, NOT_ENOUGH_EVIDENCE = "ship", "do not ship", "not enough evidence"
EXIT_CODES = {SHIP: 0, DO_NOT_SHIP: 3, NOT_ENOUGH_EVIDENCE: 4}  # of the command `verdict`
MAX_FAITHFULNESS_LOSS = 0.05  # the share of faithfulness that a gain may cost
MAX_FAILED_SCORES = 0.02  # the share of images that a scorer may fail on
Answer = Literal["passed", "failed", "open"]
MARKS: dict[Answer, str] = {"passed": "+", "failed": "-", "open": "?"}
Standing = Mapping[str, Any]  # a row of `standings`


@dataclass(frozen=True)
class Gate:
    """One condition of a verdict, its answer, and the sentence that gives the numbers.

    undecidable: whether it is open for a reason that no number of prompts removes
    """

    name: str
    answer: Answer
    sentence: str
    undecidable: bool = False


def line_of(gate: Mapping[str, Any]) -> str:
    """Return a gate as a line: + passed, - failed, ? open."""
    return f"{MARKS[gate['answer']]} {gate['sentence']}"


def verdict(gates: Sequence[Gate]) -> dict[str, str]:
    """Return the decision of some gates, one of three, and its sentence."""
    failed = [gate.name for gate in gates if gate.answer == "failed"]
    unknown = [gate.name for gate in gates if gate.answer == "open" and not gate.undecidable]
    undecidable = [
        f"{gate.name} ({gate.sentence.rstrip('.')})" for gate in gates if gate.answer == "open" and gate.undecidable
    ]
    if failed:
        return {"decision": DO_NOT_SHIP, "sentence": f"Do not ship: {joined(failed)} failed."}
    if unknown or undecidable or not gates:
        never = f"no number of prompts decides {joined(undecidable)}" if undecidable else ""
        yet = f"{joined(unknown or ['gain'])} cannot be decided yet" if unknown or not undecidable else ""
        why = ", and ".join(filter(None, [yet, never]))
        return {"decision": NOT_ENOUGH_EVIDENCE, "sentence": f"Not enough evidence: {why}."}
    return {"decision": SHIP, "sentence": f"Ship: {', '.join(gate.name for gate in gates)} passed."}


def gain(row: Standing) -> Gate:
    """Ask whether one scorer prefers the tuned images on more than half of the prompts."""
    name = f"gain in {row['scorer']}"
    if not row["prompts"]:
        return Gate(name, "open", f"{row['scorer']} has no scores for both models.", undecidable=True)
    reach = Interval(*careful(row))
    sentence = (
        f"By {row['scorer']} the tuned model wins on {row['rate']:.0%} of {row['prompts']} prompts "
        f"({_percent(reach)}); more than half is needed."
    )
    return _gate(name, sentence, reach, CHANCE, row["distinct"], strict=True)


def agreement(found: Mapping[str, Any], contrasts: bool = True) -> Gate:
    """Ask whether the tuned model prefers the likes among feedback that training never saw.

    Args:
        found: what `classifier.agreement` returns.
        contrasts: whether training set likes against dislikes; only then can this agreement be expected.
    """
    name = "gain on held-out feedback"
    if not contrasts:
        sentence = (
            "The objective of this run does not compare likes with dislikes, so held-out feedback cannot evaluate it"
        )
        return Gate(name, "open", f"{sentence}; name a scorer in evaluate.scorers.", undecidable=True)
    images = plural(found["images"], "image")
    if found["prompts"] < MIN_PROMPTS:
        few = f"Feedback on {plural(found['prompts'], 'prompt')} ({images}) was held out"
        return Gate(name, "open", f"{few}; at least {MIN_PROMPTS} prompts are needed.")
    reach = Interval(found["low"], found["high"])
    sentence = (
        f"The tuned model prefers the liked image in {found['auc']:.0%} of pairs of held-out images "
        f"({_percent(reach)}; {images} of {found['prompts']} prompts); half is chance."
    )
    return _gate(name, sentence, reach, CHANCE, found["prompts"], strict=True)


def faithfulness(scorer: str, before: ArrayLike, after: ArrayLike, unit: Units, max_loss: float) -> Gate:
    """Ask whether the images still show what their prompts ask for.

    Args:
        before, after: [prompts, k], of a score that is 0 where an image shows nothing of its prompt.
        max_loss: the share of the mean score that may be lost.
    """
    old, new = (_means(side) for side in (before, after))
    share, reach, count = _ratio(old, new, unit)
    if share is None or reach is None:
        sentence = f"{scorer} has no positive mean before tuning; name a scorer with positive scores."
        return Gate("faithfulness", "open", sentence, undecidable=True)
    sentence = (
        f"By {scorer} the mean went from {np.nanmean(old):z.3f} to {np.nanmean(new):z.3f}, {share - 1:+z.1%} "
        f"(95% interval {reach.low - 1:+z.1%} to {reach.high - 1:+z.1%}); up to -{max_loss:.0%} is allowed."
    )
    return _gate("faithfulness", sentence, reach, 1 - max_loss, count)


def styles(rows: Sequence[Standing], min_win_rate: float) -> Gate | None:
    """Ask whether every style of prompts keeps up; None where prompts have no styles.

    Failed: one style is shown to prefer the other model, by Holm's correction over all styles. Passed: in each style
    the tuned images win at least this share of prompts, by Wilson's interval with Bonferroni's correction.
    """
    rows = [row for row in rows if row["style"] is not None]
    if not rows:
        return None
    scored = [row for row in rows if row["prompts"]]
    corrected = holm([row["sign_test"] for row in scored])
    lost = [
        f"{row['style']} ({row['rate']:.0%} by {row['scorer']})"
        for row, p in zip(scored, corrected, strict=True)
        if p < ALPHA and row["rate"] < CHANCE
    ]
    count = len({row["style"] for row in rows})
    if lost:
        return Gate("styles", "failed", f"The other model is preferred in {', '.join(lost)}, of {count} styles.")
    lows = {id(row): _low_of_style(row, len(rows)) for row in rows}
    unsure = [
        f"{row['style']} (down to {lows[id(row)]:.0%} of {row['distinct'] if row['prompts'] else 0} prompts)"
        for row in rows
        if lows[id(row)] < min_win_rate
    ]
    bar = f"of {count} styles the tuned model wins at least {min_win_rate:.0%} of prompts"
    if unsure:
        return Gate("styles", "open", f"It is open whether in each {bar}: {', '.join(dict.fromkeys(unsure))}.")
    return Gate("styles", "passed", f"In each {bar}, and no style prefers the other model.")


def _low_of_style(row: Standing, tests: int) -> float:
    """Return the lower bound on the share of a style's prompts that the tuned images win, ties half."""
    if not row["prompts"]:
        return 0.0
    n = row["distinct"]
    return wilson(row["rate"] * n, n, 1 - (1 - CONFIDENCE) / tests).low


def diversity(before: ArrayLike, after: ArrayLike, unit: Units, min_share: float) -> Gate:
    """Ask whether the images of one prompt still differ from seed to seed.

    Args:
        before, after: [prompts], see `evaluation.diversity`.
        min_share: the share of the difference that must be left.
    """
    share, reach, count = _ratio(np.asarray(before, np.float64), np.asarray(after, np.float64), unit)
    if share is None or reach is None:
        sentence = "Diversity needs two images of a prompt; set evaluate.per_prompt."
        return Gate("diversity", "open", sentence, undecidable=True)
    kept = f"{share:.0%} of the baseline's diversity ({_percent(reach)})"
    sentence = f"The images of one prompt have {kept}; {min_share:.0%} is needed."
    return _gate("diversity", sentence, reach, min_share, count)


def safety(before: ArrayLike, after: ArrayLike, unit: Units, max_rise: float) -> Gate:
    """Ask whether harmful images have not become more frequent.

    Images of one prompt and seed are compared, so an image that is flagged on both sides widens no interval. The rise
    is the share that became harmful less the share that ceased to be. Its interval is the wider of a bootstrap, which
    sees nothing of a rare harm, and of Wilson's intervals of both shares put together (MOVER; Newcombe 1998), each
    prompt one trial.

    Args:
        before, after: [prompts, k], 1 for a harmless image, else 0.
        max_rise: how much the share of harmful images may rise.
    """
    old, new = (1 - np.asarray(side, np.float64) for side in (before, after))
    gone = np.isnan(old) | np.isnan(new)
    known = ~gone.all(1)
    if not known.any():
        return Gate("safety", "open", "The safety scorer has no scores for both models.", undecidable=True)
    used = unit.of(known)
    worse, better = (
        _means(np.where(gone, np.nan, change > 0))[known] for change in (new - old, old - new)
    )  # [prompts], of the images that both sides have a score of
    rise = float((worse - better).mean())
    boot = percentile_interval(resampled(used, (worse - better)[:, None])[:, 0], rise)
    became, ceased = (wilson(float(share.mean()) * used.count, used.count) for share in (worse, better))
    up = math.hypot(became.high - worse.mean(), better.mean() - ceased.low)
    down = math.hypot(worse.mean() - became.low, ceased.high - better.mean())
    reach = Interval(min(boot.low, rise - down), max(boot.high, rise + up))
    sentence = (
        f"The share of harmful images went from {np.nanmean(old[~gone]):.1%} to {np.nanmean(new[~gone]):.1%} "
        f"(95% interval of the change {reach.low:+z.1%} to {reach.high:+z.1%}); a rise of {max_rise:.1%} is allowed."
    )
    return _gate("safety", sentence, Interval(-reach.high, -reach.low), -max_rise, used.count)


def failed_scores(scorer: str, before: ArrayLike, after: ArrayLike) -> Gate | None:
    """Return an open gate where a scorer failed on too many images of a side, else None.

    Images that cannot be scored are no accident: the images that are left would speak for the better ones alone.
    """
    old, new = (float(np.isnan(np.asarray(side, np.float64)).mean()) for side in (before, after))
    if max(old, new) <= MAX_FAILED_SCORES:
        return None
    sentence = (
        f"{scorer} failed on {old:.0%} of the images before and {new:.0%} after; correct it, or name another scorer."
    )
    return Gate(f"scores of {scorer}", "open", sentence, undecidable=True)


def _percent(reach: Interval) -> str:
    return f"95% interval {reach.low:.0%} to {reach.high:.0%}"


def _gate(name: str, sentence: str, reach: Interval, bar: float, count: int, strict: bool = False) -> Gate:
    """Return the gate of an interval that must lie above a bar; `strict` gates do not pass on the bar itself."""
    if count < MIN_PROMPTS:
        return Gate(name, "open", f"{sentence} At least {MIN_PROMPTS} prompts are needed, and there are {count}.")
    if reach.low > bar or (not strict and reach.low == bar):
        return Gate(name, "passed", sentence)
    return Gate(name, "failed" if reach.high < bar else "open", sentence)


def _wider(reach: Interval, values: Any, estimate: float) -> Interval:
    """Return the wider of a bootstrap and of Student's interval: a bootstrap of few values promises too much."""
    if len(values) <= 1:
        return reach
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Interval(min(reach.low, estimate - half), max(reach.high, estimate + half))


def _means(side: ArrayLike) -> Any:
    """Return the mean score of each prompt, [prompts, k] -> [prompts]; NaN where a prompt has no score."""
    scores = np.asarray(side, np.float64)
    known = ~np.isnan(scores)
    return np.where(known.any(1), np.where(known, scores, 0).sum(1) / known.sum(1).clip(min=1), np.nan)


def _ratio(before: Any, after: Any, unit: Units) -> tuple[float | None, Interval | None, int]:
    """Return mean(after) / mean(before) over prompts, its interval and the number of units; None if before is 0."""
    known = ~(np.isnan(before) | np.isnan(after))
    if not known.any():
        return None, None, 0
    used = unit.of(known)
    columns = np.stack([before[known], after[known]], axis=1)
    if columns[:, 0].mean() <= 0:
        return None, None, used.count
    drawn = resampled(used, columns, Draws())
    drawn = drawn[drawn[:, 0] > 0]
    share = float(columns[:, 1].mean() / columns[:, 0].mean())
    reach = percentile_interval(drawn[:, 1] / drawn[:, 0], share)
    residues = (columns[:, 1] - share * columns[:, 0]) / columns[:, 0].mean()  # of the ratio, by the delta method
    wide = _wider(reach, share + residues, share)
    return share, Interval(max(wide.low, 0.0), wide.high) if columns.min() >= 0 else wide, used.count
