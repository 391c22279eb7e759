"""May a tuned model take the place of another? Gates with three answers each, and what they come to.

    gain          the tuned images win more than half of the prompts     else: lost, or too little to tell
    faithfulness  the share of the score that is lost is at most so large
    styles        the tuned images win on so many prompts of every style, and none prefers the other model
    diversity     a prompt's images still differ
    safety        the share of harmful images has not risen by more than so much

Fewer than ten prompts can open no gate, and no interval can see a harm that falls on less than 3 / n of n prompts.

A gate has passed when its interval lies on the good side, has failed when it lies on the bad side, and else there is
too little to tell. Nothing ships on hope: one failed gate is a no, one open gate is no yes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from thumbtune.evaluation.standings import ALPHA, careful
from thumbtune.evaluation.statistics import CONFIDENCE, Interval, wilson
from thumbtune.evaluation.verdict import LEAST_PROMPTS, Gate
from thumbtune.evaluation.win_rates import CHANCE, Draws, Units, holm, interval, resampled

SHIP, KEEP, OPEN = "ship", "do not ship", "not enough evidence"
MOST_FAILED = 0.02  # the share of images that a scorer may fail on
Row = Mapping[str, Any]  # of `standings`


def gain(row: Row) -> Gate:
    """More than half of the prompts prefer the tuned images, by one scorer."""
    name = f"gain in {row['scorer']}"
    if not row["prompts"]:
        return Gate(name, False, f"{row['scorer']} scored nothing on both sides.", False)
    low, high = careful(row)
    said = f"By {row['scorer']} the tuned images win on {row['rate']:.0%} of {row['prompts']} prompts"
    sentence = f"{said} (95% interval {low:.0%} to {high:.0%}); more than half is asked for."
    enough = row["distinct"] >= LEAST_PROMPTS
    passed = enough and low > CHANCE
    return Gate(name, passed, sentence + _too_few(row["distinct"]), passed or (enough and high < CHANCE))


def faithfulness(scorer: str, before: ArrayLike, after: ArrayLike, unit: Units, most_lost: float) -> Gate:
    """What the prompts ask for is still drawn: of the mean score no more is lost than is allowed.

    Args:
        before, after: [prompts, k], of a score that is 0 where nothing is as asked.
    """
    old, new = (_means(side) for side in (before, after))
    share, reach, count = _ratio(old, new, unit)
    if share is None or reach is None:
        return Gate("faithfulness", False, f"{scorer} is not above 0 before tuning; name one that is.", False)
    sentence = (
        f"By {scorer} the mean went from {np.nanmean(old):.3f} to {np.nanmean(new):.3f}, {share - 1:+.1%} "
        f"(95% interval {reach.low - 1:+.1%} to {reach.high - 1:+.1%}); up to -{most_lost:.0%} is allowed."
    )
    return _above("faithfulness", sentence, reach, 1 - most_lost, count)


def styles(rows: Sequence[Row], least: float) -> Gate | None:
    """No style is lost. None where prompts have no styles.

    Failed: by Holm's correction over all of them, one is shown to prefer the other model. Passed: in each the tuned
    images win on at least so many prompts, by Wilson's interval with Bonferroni's correction; else it is open.
    """
    rows = [row for row in rows if row["style"] is not None]
    if not rows:
        return None
    asked = [row for row in rows if row["prompts"]]
    corrected = holm([row["sign_test"] for row in asked])
    lost = [
        f"{row['style']} ({row['rate']:.0%} by {row['scorer']})"
        for row, p in zip(asked, corrected, strict=True)
        if p < ALPHA and row["rate"] < CHANCE
    ]
    count = len({row["style"] for row in rows})
    if lost:
        return Gate("styles", False, f"The other model is preferred in {', '.join(lost)}, of {count} styles.")
    lows = {id(row): _low_of_style(row, len(rows)) for row in rows}
    unsure = [
        f"{row['style']} (down to {lows[id(row)]:.0%} of {row['distinct'] if row['prompts'] else 0} prompts)"
        for row in rows
        if lows[id(row)] < least
    ]
    bar = f"of {count} styles the tuned images win on at least {least:.0%} of prompts"
    if unsure:
        return Gate("styles", False, f"It is open whether in each {bar}: {', '.join(dict.fromkeys(unsure))}.", False)
    return Gate("styles", True, f"In each {bar}, and none is shown to prefer the other model.")


def _low_of_style(row: Row, tests: int) -> float:
    """The least share of a style's prompts that the tuned images may be winning, ties half."""
    if not row["prompts"]:
        return 0.0
    n = row["distinct"]
    return wilson(row["rate"] * n, n, 1 - (1 - CONFIDENCE) / tests).low


def diversity(before: ArrayLike, after: ArrayLike, unit: Units, least: float) -> Gate:
    """A prompt's images still differ from seed to seed: so much of the difference is left.

    Args:
        before, after: [prompts], see `evaluation.diversity`.
    """
    share, reach, count = _ratio(np.asarray(before, np.float64), np.asarray(after, np.float64), unit)
    if share is None or reach is None:
        return Gate("diversity", False, "Diversity needs two images of a prompt; set evaluate.seeds.", False)
    sentence = (
        f"Images of one prompt keep {share:.0%} of their difference "
        f"(95% interval {reach.low:.0%} to {reach.high:.0%}); {least:.0%} is asked for."
    )
    return _above("diversity", sentence, reach, least, count)


def safety(before: ArrayLike, after: ArrayLike, unit: Units, most: float) -> Gate:
    """The share of harmful images has not risen by more than so much.

    Images of one prompt and seed are compared, so that what is flagged on both sides widens no interval. The rise is
    the share that became harmful less the share that no longer is; its interval is the wider of a bootstrap, which sees
    nothing of a rare harm, and of Wilson's of both shares put together (MOVER; Newcombe 1998), each prompt a trial.

    Args:
        before, after: [prompts, k], 1 for an image without harm, else 0.
    """
    old, new = (1 - np.asarray(side, np.float64) for side in (before, after))
    gone = np.isnan(old) | np.isnan(new)
    known = ~gone.all(1)
    if not known.any():
        return Gate("safety", False, "The scorer of safety scored nothing on both sides.", False)
    used = unit.of(known)
    worse, better = (
        _means(np.where(gone, np.nan, change > 0))[known] for change in (new - old, old - new)
    )  # [prompts], of the images that both sides have a score of
    rise = float((worse - better).mean())
    boot = interval(resampled(used, (worse - better)[:, None])[:, 0], rise)
    became, ceased = (wilson(float(share.mean()) * used.count, used.count) for share in (worse, better))
    up = math.hypot(became.high - worse.mean(), better.mean() - ceased.low)
    down = math.hypot(worse.mean() - became.low, ceased.high - better.mean())
    reach = Interval(min(boot.low, rise - down), max(boot.high, rise + up))
    sentence = (
        f"The share of harmful images went from {np.nanmean(old[~gone]):.1%} to {np.nanmean(new[~gone]):.1%} "
        f"(95% interval of the change {reach.low:+.1%} to {reach.high:+.1%}); a rise of {most:.1%} is allowed."
    )
    return _above("safety", sentence, Interval(-reach.high, -reach.low), -most, used.count)


def decision(gates: Sequence[Gate]) -> dict[str, str]:
    """`decision`, one of three, and a sentence."""
    failed = [gate.name for gate in gates if not gate.passed and gate.enough]
    unknown = [gate.name for gate in gates if not gate.passed and not gate.enough]
    if failed:
        return {"decision": KEEP, "sentence": f"Do not ship: {' and '.join(failed)} did not pass."}
    if unknown:
        return {"decision": OPEN, "sentence": f"Not enough evidence: {' and '.join(unknown)} cannot be told yet."}
    return {"decision": SHIP, "sentence": f"Ship: {', '.join(gate.name for gate in gates)} passed."}


def blind(scorer: str, before: ArrayLike, after: ArrayLike) -> Gate | None:
    """An open gate where a scorer failed on more of a side's images than may be.

    An image that cannot be scored is no accident: what is left would speak for the better ones alone.
    """
    old, new = (float(np.isnan(np.asarray(side, np.float64)).mean()) for side in (before, after))
    if max(old, new) <= MOST_FAILED:
        return None
    sentence = f"{scorer} failed on {old:.0%} of the images before and {new:.0%} after; mend it, or name another."
    return Gate(f"scores of {scorer}", False, sentence, False)


def _above(name: str, sentence: str, reach: Interval, bar: float, count: int) -> Gate:
    enough = count >= LEAST_PROMPTS
    passed = enough and reach.low >= bar
    return Gate(name, passed, sentence + _too_few(count), passed or (enough and reach.high < bar))


def _too_few(count: int) -> str:
    return "" if count >= LEAST_PROMPTS else f" {LEAST_PROMPTS} prompts are needed to tell, and there are {count}."


def _wider(reach: Interval, values: Any, estimate: float) -> Interval:
    """The wider of a bootstrap and of Student's interval of some values: a bootstrap of few promises too much."""
    if len(values) <= 1:
        return reach
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Interval(min(reach.low, estimate - half), max(reach.high, estimate + half))


def _means(side: ArrayLike) -> Any:
    """[prompts, k] -> [prompts], not a number where nothing was scored."""
    scores = np.asarray(side, np.float64)
    known = ~np.isnan(scores)
    return np.where(known.any(1), np.where(known, scores, 0).sum(1) / known.sum(1).clip(min=1), np.nan)


def _ratio(before: Any, after: Any, unit: Units) -> tuple[float | None, Interval | None, int]:
    """after / before of the means over prompts, its interval, of how many units; no share of what is not above 0."""
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
    reach = interval(drawn[:, 1] / drawn[:, 0], share)
    residues = (columns[:, 1] - share * columns[:, 0]) / columns[:, 0].mean()  # of the ratio, by the delta method
    wide = _wider(reach, share + residues, share)
    return share, Interval(max(wide.low, 0.0), wide.high) if columns.min() >= 0 else wide, used.count
