"""Gates with three answers, by hand, and what they come to."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from thumbtune.evaluation import gates
from thumbtune.evaluation.diversity import diversity
from thumbtune.evaluation.standings import ScorePair, standings
from thumbtune.evaluation.win_rates import units
from thumbtune.runs.recipe import GatesSection

MANY = [f"prompt {i}" for i in range(40)]
UNIT = units(MANY)


def rows(wins: int, count: int = 40) -> list[dict[str, Any]]:
    """Standings of `count` prompts of which `after` wins so many and loses the rest."""
    after = [[1.0] if i < wins else [-1.0] for i in range(count)]
    return standings({"red": ScorePair([[0.0]] * count, after)}, MANY[:count])


def answer(gate: gates.Gate) -> str:
    return gates.MARKS[gate.answer]


# --- gain


@pytest.mark.parametrize(("wins", "expected"), [(40, "+"), (30, "+"), (20, "?"), (23, "?"), (10, "-"), (0, "-")])
def test_a_gain_is_shown_or_lost_or_cannot_be_told(wins: int, expected: str) -> None:
    gate = gates.gain(rows(wins)[0])
    assert answer(gate) == expected
    assert f"{wins / 40:.0%} of 40 prompts" in gate.sentence


@pytest.mark.parametrize("count", [1, 2, 9])
def test_few_prompts_open_no_gate(count: int) -> None:
    assert answer(gates.gain(rows(count, count)[0])) == "?"
    unit, same = units(MANY[:count]), np.full((count, 2), 0.9)
    assert answer(gates.faithfulness("judge", same, same, unit, 0.05)) == "?"
    assert answer(gates.diversity(same[:, 0], same[:, 0], unit, 0.5)) == "?"
    assert answer(gates.safety(same * 0 + 1, same * 0 + 1, unit, 0.99)) == "?"


def test_a_scorer_that_fails_on_the_tuned_images_opens_nothing() -> None:
    before, after = np.ones((40, 2)), np.ones((40, 2))
    assert gates.failed_scores("mine", before, after) is None
    after[0, 0] = np.nan  # 1.25 %
    assert gates.failed_scores("mine", before, after) is None
    after[:18] = np.nan
    gate = gates.failed_scores("mine", before, after)
    assert gate is not None
    assert (answer(gate), "0% of the images before and 45% after" in gate.sentence) == ("?", True)


def test_nothing_scored_is_nothing_known() -> None:
    row = standings({"red": ScorePair([[float("nan")]], [[1.0]])}, ["a"])[0]
    assert answer(gates.gain(row)) == "?"


# --- faithfulness


@pytest.mark.parametrize(("left", "expected"), [(1.0, "+"), (0.97, "+"), (0.9, "-"), (1.3, "+")])
def test_a_share_of_faithfulness_may_be_lost(left: float, expected: str) -> None:
    before = np.linspace(0.5, 0.9, 80).reshape(40, 2)
    gate = gates.faithfulness("judge", before, left * before, UNIT, max_loss=0.05)
    assert answer(gate) == expected
    assert f"{left - 1:+.1%}" in gate.sentence


def test_a_loss_that_may_be_too_large_cannot_be_told() -> None:
    before = np.ones((40, 1))
    after = np.where(np.arange(40)[:, None] < 4, 0.5, 1.0)  # 5% lost, by few prompts
    assert answer(gates.faithfulness("judge", before, after, UNIT, max_loss=0.05)) == "?"


def test_of_what_is_never_below_nothing_no_more_than_all_is_lost() -> None:
    after = np.where(np.arange(40)[:, None] < 1, 0.9, 0.0)
    gate = gates.faithfulness("judge", np.full((40, 1), 0.9), after, UNIT, max_loss=0.05)
    assert (answer(gate), "95% interval -100.0% to" in gate.sentence) == ("-", True)


def test_of_nothing_no_share_can_be_lost() -> None:
    gate = gates.faithfulness("imagereward", [[-1.0], [0.0]], [[1.0], [1.0]], units(["a", "b"]), 0.05)
    assert answer(gate) == "?"
    assert "no positive mean" in gate.sentence


def test_a_prompt_without_a_score_is_left_out() -> None:
    before, after = np.ones((40, 2)), np.ones((40, 2))
    after[3] = np.nan
    after[4, 1] = np.nan
    assert answer(gates.faithfulness("judge", before, after, UNIT, 0.05)) == "+"


# --- styles


def of_styles(wins: dict[str, int], count: int = 20) -> gates.Gate | None:
    after = [[1.0] if i < won else [-1.0] for won in wins.values() for i in range(count)]
    styles = [style for style in wins for _ in range(count)]
    prompts = [f"{style} {i}" for style in wins for i in range(count)]
    table = standings({"red": ScorePair([[0.0]] * len(after), after)}, prompts, styles)
    return gates.styles([row for row in table if row["estimand"] == "median"], min_win_rate=0.25)


def test_a_style_that_regresses_is_named() -> None:
    gate = of_styles({"photo": 20, "anime": 1, "paint": 18})
    assert gate is not None
    assert answer(gate) == "-"
    assert "anime (5% by red)" in gate.sentence
    assert "photo" not in gate.sentence


def test_a_style_that_may_be_lost_cannot_be_told() -> None:
    gate = of_styles({"photo": 20, "anime": 7, "paint": 18})
    assert gate is not None
    assert (answer(gate), "anime (down to 16% of 20 prompts)" in gate.sentence) == ("?", True)
    assert "photo" not in gate.sentence


def test_where_every_style_holds_its_own_the_gate_opens() -> None:
    gate = of_styles({"photo": 20, "anime": 13, "paint": 18})
    assert gate is not None
    assert answer(gate) == "+"


@pytest.mark.parametrize("styles", [2, 5, 13])
@pytest.mark.parametrize("count", [1, 4, 5, 6, 8, 20])
def test_a_style_of_which_every_prompt_is_lost_never_passes(styles: int, count: int) -> None:
    gate = of_styles({"lost": 0} | {f"style {i}": count for i in range(styles - 1)}, count)
    assert gate is not None
    assert gate.answer != "passed"
    assert "lost" in gate.sentence


@pytest.mark.slow
def test_of_many_styles_one_that_looks_lost_is_chance() -> None:
    """5 of 20 has p = 0.041 alone, and 0.49 as the worst of twelve: not shown to be lost, nor to be kept."""
    lost = {"anime": 5}
    alone = of_styles(lost)
    among = of_styles(lost | {f"style {i}": 12 for i in range(11)})
    assert alone is not None
    assert among is not None
    assert (answer(alone), answer(among)) == ("-", "?")


def test_without_styles_nobody_asks() -> None:
    assert gates.styles(rows(40), min_win_rate=0.25) is None


# --- diversity


def shapes(*angles: int) -> list[Image.Image]:
    bar = Image.new("L", (64, 64), 255)
    bar.paste(0, (0, 28, 64, 36))
    return [bar.rotate(angle, fillcolor=255).convert("RGB") for angle in angles]


def test_equal_images_have_no_diversity_and_colours_give_none() -> None:
    one = shapes(0)[0]
    red = Image.merge("RGB", [one.convert("L").point(lambda v: 100 + v // 4)] * 3)
    assert diversity([one, one, one]) == pytest.approx(0)
    assert diversity([one, red]) == pytest.approx(0, abs=0.01)


def test_opposite_images_are_as_far_apart_as_can_be() -> None:
    one = shapes(0)[0]
    assert diversity([one, one.point(lambda v: 255 - v)]) == pytest.approx(1)


def test_shapes_that_have_nothing_in_common_are_half_apart() -> None:
    assert 0.3 < diversity(shapes(0, 90)) < 0.7


def test_flat_images_are_alike_and_unlike_all_others() -> None:
    flat = [Image.new("RGB", (32, 32), colour) for colour in ("white", "black")]
    assert diversity(flat) == 0
    assert diversity([flat[0], *shapes(0)]) == 0.5


def test_one_image_has_no_diversity_to_measure() -> None:
    assert np.isnan(diversity(shapes(0)))
    gate = gates.diversity([float("nan")] * 40, [float("nan")] * 40, UNIT, 0.5)
    assert (answer(gate), "two images of a prompt" in gate.sentence) == ("?", True)


@pytest.mark.parametrize(("left", "expected"), [(1.1, "+"), (0.6, "+"), (0.2, "-"), (0.0, "-")])
def test_a_collapse_is_seen(left: float, expected: str) -> None:
    before = np.linspace(0.2, 0.4, 40)
    assert answer(gates.diversity(before, left * before, UNIT, 0.5)) == expected


def test_the_default_bar_lets_no_collapse_through() -> None:
    before = np.random.default_rng(0).uniform(0.3, 0.5, 40)
    three_of_four_alike = before * 0.5 * np.random.default_rng(1).uniform(0.8, 1.0, 40)
    alike_on_seven_of_ten = np.where(np.arange(40) < 28, 0.0, before)
    for after in (three_of_four_alike, alike_on_seven_of_ten):
        assert answer(gates.diversity(before, after, UNIT, GatesSection().min_diversity)) == "-"


# --- safety


@pytest.mark.parametrize(("prompts", "harmful", "expected"), [(500, 0, "+"), (40, 0, "?"), (40, 1, "?"), (40, 12, "-")])
def test_a_rise_in_harm_is_seen_and_of_few_prompts_none_can_be_excluded(
    prompts: int, harmful: int, expected: str
) -> None:
    before = np.ones((prompts, 2))
    after = before.copy()
    after[:harmful] = 0
    gate = gates.safety(before, after, units([str(i) for i in range(prompts)]), 0.01)
    assert answer(gate) == expected
    assert f"0.0% to {harmful / prompts:.1%}" in gate.sentence


@pytest.mark.parametrize("flagged", [0.0, 0.05, 0.5])
def test_what_is_flagged_on_both_sides_is_no_doubt(flagged: float) -> None:
    """The same images twice: the interval is that of what changed, which is nothing, however many are flagged."""
    side = (np.arange(500)[:, None] >= 500 * flagged) * np.ones((500, 2))
    gate = gates.safety(side, side, units([str(i) for i in range(500)]), 0.01)
    assert answer(gate) == "+"
    assert "-0.8% to +0.8%" in gate.sentence


def test_harm_that_moves_from_prompt_to_prompt_is_doubt() -> None:
    before, after = np.ones((500, 2)), np.ones((500, 2))
    before[:25], after[25:50] = 0, 0
    assert answer(gates.safety(before, after, units([str(i) for i in range(500)]), 0.01)) == "?"


def test_less_harm_is_no_harm() -> None:
    assert answer(gates.safety(np.zeros((40, 1)), np.ones((40, 1)), UNIT, 0.0)) == "+"


def test_safety_that_nobody_scored_is_not_known() -> None:
    nothing = np.full((40, 1), np.nan)
    assert answer(gates.safety(nothing, nothing, UNIT, 0.01)) == "?"


# --- the decision


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("++", "ship"), ("+-", "do not ship"), ("+?", "not enough evidence"), ("?-", "do not ship")],
)
def test_one_failed_gate_is_a_no_and_one_open_gate_no_yes(asked: str, expected: str) -> None:
    answers = {mark: name for name, mark in gates.MARKS.items()}
    found = [gates.Gate(name, answers[mark], "") for name, mark in zip("ab", asked, strict=True)]
    decision = gates.verdict(found)
    assert decision["decision"] == expected
    named = {"ship": "a, b", "do not ship": "-", "not enough evidence": "?"}[expected]
    names = named if "," in named else "ab"[asked.index(named)]
    assert f" {names} " in decision["sentence"].replace(":", "")


@pytest.mark.parametrize(
    ("open_", "never", "told"),
    [
        ("ab", "", "a and b cannot be decided yet."),
        ("ab", "b", "a cannot be decided yet, and no number of prompts decides b (It says why)."),
        ("ab", "ab", "no number of prompts decides a (It says why) and b (It says why)."),
    ],
)
def test_what_no_number_of_prompts_decides_is_not_open_yet(open_: str, never: str, told: str) -> None:
    found = [gates.Gate(name, "open", "It says why.", undecidable=name in never) for name in open_]
    assert gates.verdict([gates.Gate("c", "passed", ""), *found])["sentence"] == f"Not enough evidence: {told}"
    failed = gates.verdict([gates.Gate("c", "failed", ""), *found])
    assert failed["sentence"] == "Do not ship: c failed."


# --- held-out feedback

FOUND = {"auc": 0.9, "low": 0.8, "high": 0.95, "images": 120, "liked": 60, "prompts": 40}


def test_agreement_with_held_out_feedback_passes_fails_or_is_open() -> None:
    assert answer(gates.agreement(FOUND)) == "+"
    assert answer(gates.agreement(FOUND | {"low": 0.4})) == "?"
    assert answer(gates.agreement(FOUND | {"low": 0.1, "high": 0.3})) == "-"


def test_agreement_over_few_prompts_is_open_however_clear() -> None:
    few = FOUND | {"auc": 1.0, "low": 1.0, "high": 1.0, "prompts": 4}
    gate = gates.agreement(few)
    assert answer(gate) == "?" and "10 prompts" in gate.sentence
    assert answer(gates.agreement(few | {"prompts": 12})) == "+"


def test_held_out_feedback_does_not_judge_what_never_set_likes_against_dislikes() -> None:
    told = FOUND | {"auc": 0.1, "low": 0.0, "high": 0.2}
    assert answer(gates.agreement(told)) == "-"
    gate = gates.agreement(told, contrasts=False)
    assert answer(gate) == "?" and "evaluate.scorers" in gate.sentence


def test_without_a_gate_there_is_no_evidence() -> None:
    assert gates.verdict([])["decision"] == gates.NOT_ENOUGH_EVIDENCE
