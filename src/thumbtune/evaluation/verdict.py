"""From comparisons to a sentence: did tuning help, and what did it cost?"""

from dataclasses import asdict, dataclass
from typing import Any

from thumbtune.evaluation.statistics import Comparison

CHANCE = 0.5  # of winning a duel against oneself
GAINS = {"taste", "agreement"}  # gates that measure whether anything became better
LEAST_PROMPTS = 10  # of held-out thumbs; a bootstrap over fewer prompts promises too much
MOST_LOST = 0.05  # the share of faithfulness that a gain in taste may cost


@dataclass(frozen=True)
class Gate:
    """One condition of the verdict."""

    name: str
    passed: bool
    sentence: str
    enough: bool = True  # whether there was enough to tell


def taste_gate(c: Comparison) -> Gate:
    """Tuned images win more duels than they lose, beyond chance by the more careful of two intervals."""
    low = min(c.win_rate_bootstrap.low, c.win_rate_wilson.low)
    high = max(c.win_rate_bootstrap.high, c.win_rate_wilson.high)
    return Gate(
        "taste",
        low > CHANCE,
        f"The tuned model's image is more to the taste in {c.win_rate:.0%} of duels "
        f"(95% interval {low:.0%} to {high:.0%}, {c.prompts} prompts x {c.seeds} seed{'' if c.seeds == 1 else 's'}); "
        "more than half is asked for.",
    )


def faithfulness_gate(c: Comparison) -> Gate:
    """What the prompt asks for is still drawn: no more than so much is lost, beyond chance."""
    lost = max(0.0, (c.before_mean - c.after_mean) / c.before_mean) if c.before_mean > 0 else 0.0
    change = c.relative_change_interval
    interval = f"; 95% interval of the change {change.low:+.1%} to {change.high:+.1%}" if change else ""
    passed = change is not None and change.low >= -MOST_LOST
    return Gate(
        "faithfulness",
        passed,
        f"Faithfulness to the prompt went from {c.before_mean:.3f} to {c.after_mean:.3f} "
        f"({f'a loss of {lost:.1%}' if lost else 'no loss'}{interval}); up to {MOST_LOST:.0%} is allowed.",
        passed or change is None or change.high < -MOST_LOST,
    )


def agreement_gate(agreement: dict[str, Any], contrasts: bool = True) -> Gate:
    """Used where no taste can be scored: the tuned model agrees with thumbs that it never saw.

    Args:
        contrasts: whether training set likes against dislikes; only then is there such an agreement to ask for.
    """
    if not contrasts:
        why = "This run's objective does not set likes against dislikes, so that held-out thumbs cannot judge it"
        return Gate("agreement", False, f"{why}; name a taste.", False)
    low, high, prompts = agreement["low"], agreement["high"], agreement["prompts"]
    if prompts < LEAST_PROMPTS:
        what = f"{prompts} prompt{'' if prompts == 1 else 's'} ({agreement['images']} images)"
        return Gate(
            "agreement", False, f"Thumbs of {what} were held out; {LEAST_PROMPTS} prompts are needed to tell.", False
        )
    return Gate(
        "agreement",
        low > CHANCE,
        f"The tuned model prefers the liked image in {agreement['auc']:.0%} of pairs of held-out thumbs "
        f"(95% interval {low:.0%} to {high:.0%}, {agreement['images']} images of {prompts} prompts; "
        "half would be chance).",
    )


def verdict(gates: list[Gate]) -> dict[str, Any]:
    """One sentence. Keeping what was there is no improvement: a gate that measures a gain must have passed."""
    failed = [gate.name for gate in gates if not gate.passed and gate.enough]
    if failed:
        sentence = f"Tuning is not shown to have helped: {' and '.join(failed)} did not pass."
    elif not any(gate.name in GAINS for gate in gates):
        sentence = (
            "There is no evidence either way: no taste was scored, and no held-out thumbs of both kinds were there."
        )
    elif not all(gate.enough for gate in gates):
        sentence = "There is too little to tell whether tuning helped: rate images of more prompts, or name a taste."
    else:
        names = " and ".join(gate.name for gate in gates)
        sentence = f"Tuning helped: {names} passed on prompts and seeds that training never saw."
        return {"improved": True, "sentence": sentence}
    return {"improved": False, "sentence": sentence}


def line_of(gate: dict[str, Any]) -> str:
    """A gate as a line for people: + passed, - did not, ? too little to tell."""
    return f"{'+' if gate['passed'] else '-' if gate['enough'] else '?'} {gate['sentence']}"


def as_json(gates: list[Gate]) -> list[dict[str, Any]]:
    """Gates as plain mappings."""
    return [asdict(gate) for gate in gates]
