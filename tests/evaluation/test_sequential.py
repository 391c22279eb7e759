"""The stopping rule of human tests: its numbers by hand, its errors by simulation, and that each prompt counts once."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from refusals import refused

from thumbtune.evaluation.human.answers import Answer, AnswerFile, Arrival, Choice, parse_answers
from thumbtune.evaluation.human.key import format_key, read_key
from thumbtune.evaluation.human.plan import Pair, Study, StudyDesign, plan_study
from thumbtune.evaluation.human.sequential import DECIDES, decide, decide_study, interval_of, log_evidence


def study_of(prompts: int, per_prompt: int = 1, **design: object) -> Study:
    pairs = [
        Pair(prompt=prompt, words=f"prompt {prompt}", seed=seed, a=f"a/{prompt}-{seed}", b=f"b/{prompt}-{seed}")
        for prompt in range(prompts)
        for seed in range(per_prompt)
    ]
    return plan_study(pairs, StudyDesign(seed=1, trials=500, repeats=0.0, **design))  # type: ignore[arg-type]


def answers_of(
    study: Study, wanted: str, rater: str = "ann", finished: str | None = "2026-01-01T10:00:00"
) -> AnswerFile:
    """All answers of a rater for a side, whose sitting ended then."""
    choices: dict[bool, Choice] = {True: "left", False: "right"}
    given = tuple(Answer(id=one.id, choice=choices[one.left == wanted], seconds=2.0) for one in study.trials)
    return AnswerFile(rater=rater, started="2026-01-01T08:00:00", finished=finished, answers=given)


def test_the_evidence_is_the_mean_likelihood_ratio_over_all_shares() -> None:
    shares = (np.arange(100_000) + 0.5) / 100_000
    for b, a in ((0, 0), (3, 1), (10, 2), (5, 5)):
        by_hand = np.mean(shares**b * (1 - shares) ** a) / 0.5 ** (a + b)
        assert math.exp(log_evidence(b, a)) == pytest.approx(by_hand, rel=1e-6)


def test_eight_prompts_of_eight_decide_and_seven_do_not() -> None:
    assert decide([1.0] * 7).decided is None  # 2^7 / 8 = 16
    found = decide([1.0] * 8)  # 2^8 / 9 = 28.4
    assert (found.decided, found.decided_at, found.b, found.a) == ("b", 8, 8, 0)
    assert decide([0.0] * 8).decided == "a"
    assert decide([0.5, *[1.0] * 8]).decided_at == 9  # a tie counts for neither
    later = decide([1.0] * 8 + [0.0] * 6)
    assert (later.decided, later.decided_at) == ("b", 8) and later.evidence < DECIDES  # what was decided stays


@pytest.mark.slow
def test_an_interval_holds_the_half_exactly_where_the_rule_has_not_decided() -> None:
    for b in range(30):
        for a in range(30):
            interval = interval_of(b, a)
            is_open = math.exp(log_evidence(b, a)) < DECIDES
            assert (interval.low <= 0.5 <= interval.high) == is_open, (b, a)
            if a + b:
                assert interval.low <= b / (a + b) <= interval.high
    assert (interval_of(9, 2).low, interval_of(9, 2).high) == pytest.approx(
        (1 - interval_of(2, 9).high, 1 - interval_of(2, 9).low)
    )


def stopped(share: float, tests: int, prompts: int, seed: int) -> tuple[float, float]:
    """The part of simulated tests that stop within so many prompts, and the mean prompt at which they do."""
    draws = np.random.default_rng(seed).random((tests, prompts)) < share
    b = draws.cumsum(1)
    is_over = np.zeros(draws.shape, bool)
    for n in range(1, prompts + 1):
        of_wins = np.array([log_evidence(won, n - won) for won in range(n + 1)])
        is_over[:, n - 1] = of_wins[b[:, n - 1]] >= math.log(DECIDES)
    ended = is_over.any(1)
    return float(ended.mean()), float(is_over.argmax(1)[ended].mean() + 1)


@pytest.mark.slow
def test_of_equal_models_at_most_five_tests_in_a_hundred_stop() -> None:
    tests = 20_000
    rate, _ = stopped(0.5, tests, 300, seed=0)
    assert 0.005 < rate < 0.05 - 2 * (0.05 * 0.95 / tests) ** 0.5  # below 5 %, though each looks 300 times
    fixed = np.random.default_rng(0).binomial(1, 0.5, (2_000, 300)).cumsum(1)
    n = np.arange(1, 301)
    looks = (np.abs(fixed - n / 2) > 1.96 * np.sqrt(n) / 2)[:, 9:]
    assert looks.any(1).mean() > 0.2  # what looking at a fixed test again and again does


def test_of_different_models_most_tests_stop_early() -> None:
    rate, mean = stopped(0.8, 2_000, 300, seed=1)
    assert rate > 0.999 and 10 < mean < 40


def test_each_prompt_counts_once_by_its_first_answer() -> None:
    study = study_of(8, per_prompt=3)
    early, late = answers_of(study, "b"), answers_of(study, "a", "ben", "2026-01-01T10:00:01")
    found = decide_study(study, [late, early])
    assert found.b + found.a == 8
    alone = decide_study(study, [early])
    assert (alone.b, alone.a, alone.decided) == (8, 0, "b")
    # of both, the one whose sitting ended first
    aware = answers_of(study, "a", "ben", "2026-01-01T09:00:00+00:00")
    assert decide_study(study, [early, aware]).a == 8


def test_of_files_without_arrivals_only_complete_sittings_count() -> None:
    study = study_of(8)
    halted = answers_of(study, "b", "ann", None)
    assert decide_study(study, [halted]).decided is None and decide_study(study, [halted]).b == 0
    assert decide_study(study, [halted, answers_of(study, "a", "ben")]).decided == "a"


def test_arrivals_count_and_not_what_answers_became() -> None:
    study = study_of(8)
    arrivals = tuple(Arrival(at=float(place), answer=one) for place, one in enumerate(answers_of(study, "a").answers))
    changed = replace(answers_of(study, "b"), arrivals=arrivals)
    assert decide_study(study, [changed]).decided == "a"
    assert decide_study(study, [replace(changed, answers=())]).a == 8  # all were taken back


def test_arrivals_are_read_from_files_and_files_of_before_have_none() -> None:
    study = study_of(2)
    one, two = (trial.id for trial in study.trials)
    row = {"id": one, "choice": "left", "seconds": 1.0}
    content: dict[str, object] = {"form": 1, "study": study.id, "rater": "ann", "answers": [row]}
    content |= {"started": "2026-01-01T10:00:00", "finished": None}
    assert parse_answers(content, study.questionnaire, "x").arrivals is None
    rows = [{**row, "id": two, "at": "1970-01-01T00:00:05+00:00"}, {**row, "at": "1970-01-01T00:00:06"}]
    read = parse_answers({**content, "answers": [], "arrivals": rows}, study.questionnaire, "x")
    assert read.arrivals is not None and [(one.at, one.answer.id) for one in read.arrivals] == [(5, two), (6, one)]
    with refused("human-answers-time", naming="arrival 1"):
        parse_answers({**content, "arrivals": [row]}, study.questionnaire, "x")


# who answers when, as (rater, number of answers): Ann pauses while Bob answers all; four people come and go
SITTINGS = {
    "ann pauses": [("ann", 5), ("bob", 30), ("ann", 25)],
    "four": [("a", 8), ("b", 3), ("c", 20), ("a", 10), ("d", 30), ("b", 27), ("c", 10), ("a", 12)],
}


@pytest.mark.slow
@pytest.mark.parametrize("sitting", SITTINGS)
def test_of_equal_models_several_raters_who_pause_stop_at_most_five_tests_in_a_hundred(sitting: str) -> None:
    prompts, tests, chance = 30, 200, np.random.default_rng(5)
    study = study_of(prompts)
    stops = 0
    for _ in range(tests):
        given: dict[str, list[Arrival]] = {}
        orders = {rater: list(chance.permutation(prompts)) for rater, _ in SITTINGS[sitting]}
        found, at = None, 0.0
        for rater, count in SITTINGS[sitting]:
            for _ in range(count):
                at += 1.0
                choice: Choice = "left" if chance.random() < 0.5 else "right"
                trial = study.first_showings[orders[rater].pop()].id
                arrival = Arrival(at=at, answer=Answer(id=trial, choice=choice, seconds=float(chance.exponential(9))))
                given.setdefault(rater, []).append(arrival)
                if at % 10 == 0 and found is None:  # looks
                    found = decide_study(study, files_of(given)).decided
        assert found is None or decide_study(study, files_of(given)).decided == found  # what was decided stays
        stops += found is not None
    assert stops <= 0.05 * tests


def files_of(given: dict[str, list[Arrival]]) -> list[AnswerFile]:
    """The studio's files of raters who all began at the same time."""
    return [
        AnswerFile(
            rater=rater,
            started="2026-01-01T10:00:00",
            finished=None,
            answers=tuple(one.answer for one in arrivals),
            arrivals=tuple(arrivals),
        )
        for rater, arrivals in given.items()
    ]


def test_the_rule_is_in_the_key_and_changes_no_id(tmp_path: Path) -> None:
    plain, ruled = study_of(3), study_of(3, stop="sequential")
    assert plain.id == ruled.id and plain.trials == ruled.trials
    key = tmp_path / "key.json"
    key.write_text(format_key(ruled))
    assert read_key(key) == ruled
    key.write_text(format_key(ruled).replace('"stop": "sequential",', ""))
    assert read_key(key) == plain  # a key of before
    key.write_text(format_key(ruled).replace('"sequential"', '"whenever"'))
    with refused("human-key-field", naming="whenever"):
        read_key(key)
