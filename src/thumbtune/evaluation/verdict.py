"""From comparisons to a sentence: did tuning help, and what did it cost?"""

from dataclasses import asdict, dataclass
from typing import Any

from thumbtune.evaluation.statistics import Comparison

CHANCE = 0.5  # of winning a duel against oneself
MOST_LOST = 0.05  # the share of faithfulness that a gain in taste may cost


@dataclass(frozen=True)
class Gate:
    """One condition of the verdict."""

    name: str
    passed: bool
    sentence: str


def taste_gate(c: Comparison) -> Gate:
    """Tuned pictures win more duels than they lose, beyond chance."""
    low, high = c.win_rate_bootstrap.low, c.win_rate_bootstrap.high
    return Gate(
        "taste",
        low > CHANCE,
        f"The tuned model's picture is more to the taste in {c.win_rate:.0%} of duels "
        f"(95 % interval {low:.0%} to {high:.0%}, {c.prompts} prompts x {c.seeds} seeds); more than half is asked for.",
    )


def faithfulness_gate(c: Comparison) -> Gate:
    """What the prompt asks for is still drawn."""
    lost = max(0.0, (c.before_mean - c.after_mean) / c.before_mean) if c.before_mean > 0 else 0.0
    return Gate(
        "faithfulness",
        lost <= MOST_LOST,
        f"Faithfulness to the prompt went from {c.before_mean:.3f} to {c.after_mean:.3f} "
        f"(a loss of {lost:.1%}; up to {MOST_LOST:.0%} is allowed).",
    )


def agreement_gate(agreement: dict[str, Any]) -> Gate:
    """Used where no taste can be scored: the tuned model agrees with thumbs that it never saw."""
    low, high = agreement["low"], agreement["high"]
    return Gate(
        "agreement",
        low > CHANCE,
        f"The tuned model prefers the liked image in {agreement['auc']:.0%} of pairs of held-out thumbs "
        f"(95 % interval {low:.0%} to {high:.0%}, {agreement['images']} images; half would be chance).",
    )


def verdict(gates: list[Gate]) -> dict[str, Any]:
    """All gates passed, or which did not, in one sentence."""
    failed = [gate.name for gate in gates if not gate.passed]
    if not gates:
        return {
            "improved": False,
            "sentence": "There is nothing to judge by: no taste, no judge and no held-out likes.",
        }
    if not failed:
        names = " and ".join(gate.name for gate in gates)
        return {
            "improved": True,
            "sentence": f"Tuning helped: {names} passed on prompts and seeds that training never saw.",
        }
    return {"improved": False, "sentence": f"Tuning is not shown to have helped: {' and '.join(failed)} did not pass."}


def as_json(gates: list[Gate]) -> list[dict[str, Any]]:
    """Gates as plain mappings."""
    return [asdict(gate) for gate in gates]
