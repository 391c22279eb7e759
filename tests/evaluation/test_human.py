"""The human test: a blind and balanced plan, answers that anybody may have made, and an analysis checked by hand."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.evaluation.human.analysis import StudyResult, analyse
from thumbtune.evaluation.human.answers import (
    MAX_ANSWER_BYTES,
    AnswerFile,
    parse_answers,
    read_answer_file,
    read_answer_files,
)
from thumbtune.evaluation.human.duel_pairs import read_pairs, read_side_names
from thumbtune.evaluation.human.key import format_key, read_key
from thumbtune.evaluation.human.plan import Pair, Study, StudyDesign, Trial, order_for, plan_study

Chooser = Callable[[Trial], str]


def pairs(prompts: int, seeds: int = 1, styles: Sequence[str | None] = (None,)) -> list[Pair]:
    return [
        Pair(
            prompt=p, words=f"prompt {p}", seed=1000 + p * seeds + s, a=f"a/{p}-{s}.png", b=f"b/{p}-{s}.png",
            style=styles[p % len(styles)],
        )
        for p in range(prompts)
        for s in range(seeds)
    ]  # fmt: skip


def study(prompts: int = 12, seeds: int = 1, **design: Any) -> Study:
    return plan_study(pairs(prompts, seeds), StudyDesign(**{"seed": 5} | design))


def prefers(side: str) -> Chooser:
    return lambda trial: "left" if trial.left == side else "right"


def answers(of: Study, choose: Chooser, rater: str = "anna", **fields: Any) -> dict[str, Any]:
    return {
        "form": 1,
        "study": of.id,
        "rater": rater,
        "started": "2026-01-02T03:04:05.678Z",
        "finished": "2026-01-02T03:09:00.000Z",
        "answers": [{"id": t.id, "choice": choose(t), "seconds": 1 + i} for i, t in enumerate(of.trials)],
    } | fields


def answer_file(of: Study, choose: Chooser, rater: str = "anna") -> AnswerFile:
    return parse_answers(answers(of, choose, rater), of.questionnaire, "here")


def outcome(of: Study, *choosers: Chooser, keep_careless: bool = False) -> StudyResult:
    return analyse(of, [answer_file(of, choose, f"rater {i}") for i, choose in enumerate(choosers)], keep_careless)


# --- the plan


plans = st.builds(
    lambda prompts, seeds, styles, trials, repeats, seed: (
        pairs(prompts, seeds, styles),
        StudyDesign(seed=seed, trials=trials, repeats=repeats),
    ),
    st.integers(1, 15),
    st.integers(1, 3),
    st.sampled_from([(None,), ("x", "y"), ("x", "x", "y"), ("x", "y", "z", None)]),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.1, 0.3, 0.5]),
    st.integers(0, 2**63),
)


@given(plans)
def test_each_side_lies_left_equally_often_overall_and_within_each_style(made: tuple[list[Pair], StudyDesign]) -> None:
    first = plan_study(*made).first_showings
    for style in {None, *(trial.pair.style for trial in first)}:
        some = Counter(t.left for t in first if style is None or t.pair.style == style)
        assert abs(some["a"] - some["b"]) <= 1
    assert len(first) == min(made[1].trials, len(made[0]))


@given(plans)
def test_repeats_come_later_with_exchanged_sides_and_never_next_to_the_first(
    made: tuple[list[Pair], StudyDesign],
) -> None:
    found = plan_study(*made)
    places = {trial.id: i for i, trial in enumerate(found.trials)}
    assert len(places) == len(found.trials), "ids differ"
    again = [trial for trial in found.trials if trial.repeats is not None]
    shown, share = len(found.first_showings), made[1].repeats
    assert len(again) == (max(2, round(share * shown)) if share and shown >= 10 else round(share * shown))
    assert len({trial.repeats for trial in again}) == len(again), "nothing is shown a third time"
    for trial in again:
        assert trial.repeats is not None
        first = found.trials[places[trial.repeats]]
        assert first.repeats is None
        assert (first.pair, first.files) == (trial.pair, trial.files[::-1])
        assert places[trial.id] - places[first.id] >= 2


@given(plans)
def test_each_rater_has_an_order_of_all_trials_with_repeats_later(made: tuple[list[Pair], StudyDesign]) -> None:
    found = plan_study(*made)
    order = order_for(found, "anna")
    assert order == order_for(found, "anna") and sorted(t.id for t in order) == sorted(t.id for t in found.trials)
    places = {trial.id: i for i, trial in enumerate(order)}
    for trial in found.trials:
        if trial.repeats is not None:
            assert places[trial.id] - places[trial.repeats] >= 2
    if len(found.first_showings) > 6:
        assert len({order_for(found, f"rater {number}") for number in range(5)}) > 1


@given(plans)
def test_the_same_seed_makes_the_same_study_and_another_seed_other_ids(made: tuple[list[Pair], StudyDesign]) -> None:
    some, design = made
    found = plan_study(some, design)
    assert plan_study(some, design) == found
    other = plan_study(some, replace(design, seed=design.seed + 1))
    assert not {found.id, *(t.id for t in found.trials)} & {other.id, *(t.id for t in other.trials)}


def test_another_duel_makes_another_study_of_the_same_seed() -> None:
    one, other = plan_study(pairs(3), StudyDesign(seed=1)), plan_study(pairs(4), StudyDesign(seed=1))
    assert one.id != other.id


def test_ids_say_nothing_of_sides_prompts_or_showings() -> None:
    """Were ids and sides related, those of one side would lie to one end: a rank test finds 4 sigma at most."""
    found = plan_study(pairs(400), StudyDesign(seed=3, trials=400, repeats=0.5))
    assert all(re.fullmatch("[0-9a-f]{20}", trial.id) for trial in found.trials)
    ranked = sorted(found.trials, key=lambda trial: trial.id)
    for told in (lambda t: t.left == "a", lambda t: t.repeats is None, lambda t: t.pair.prompt < 200):
        places = [i for i, trial in enumerate(ranked) if told(trial)]
        n, m = len(places), len(ranked) - len(places)
        mean, deviation = n * (n + m - 1) / 2, (n * m * (n + m + 1) / 12) ** 0.5
        assert abs(sum(places) - mean) < 4 * deviation


def test_a_questionnaire_holds_no_sides() -> None:
    found = study(20)
    asked = found.questionnaire
    assert asked.trials == tuple((trial.id, trial.pair.words) for trial in found.trials)
    assert not re.search(r"left|repeats|seed|\.png|'a'|'b'", repr(asked))


def test_prompts_are_chosen_evenly_over_styles_and_new_ones_first() -> None:
    found = plan_study(pairs(30, 2, ("x", "y", "z", "z", "z", "z")), StudyDesign(seed=1, trials=12, repeats=0.0))
    assert Counter(trial.pair.style for trial in found.trials) == {"x": 4, "y": 4, "z": 4}
    assert len({trial.pair.prompt for trial in found.trials}) == 12
    all_prompts = plan_study(pairs(30, 2), StudyDesign(seed=1, trials=40))
    assert len({trial.pair.prompt for trial in all_prompts.trials}) == 30, "each once before any a second time"


@pytest.mark.parametrize(
    ("some", "changes", "code", "naming"),
    [
        ([], {}, "human-no-pairs", []),
        (pairs(2) + pairs(1), {}, "human-pair-twice", ["Prompt 0", "seed 1000"]),
        (pairs(2), {"trials": 0}, "human-no-trials", [0]),
        (pairs(2), {"repeats": 0.6}, "human-repeat-share", [0.6, "between 0 and 0.5"]),
        (pairs(2), {"repeats": -0.1}, "human-repeat-share", [-0.1, "between 0 and 0.5"]),
        (pairs(2), {"question": "  "}, "human-no-question", []),
    ],
)
def test_a_plan_that_cannot_be_made_is_told(
    some: list[Pair], changes: dict[str, Any], code: str, naming: list[Any]
) -> None:
    with refused(code, UsageError, naming=naming):
        plan_study(some, StudyDesign(**{"seed": 0} | changes))


# --- the key


@given(plans)
@settings(max_examples=20)
def test_a_key_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, made: Any) -> None:
    found = plan_study(*made)
    file = tmp_path_factory.mktemp("key") / "key.json"
    file.write_text(format_key(found), encoding="utf-8")
    assert read_key(file) == found


def broken(change: Callable[[dict[str, Any]], Any]) -> str:
    key = json.loads(format_key(study(3)))
    change(key)
    return json.dumps(key)


@pytest.mark.parametrize(
    ("text", "code", "naming"),
    [
        ("", "json-invalid", []),
        ("[]", "human-not-a-key", []),
        (json.dumps(answers(study(), prefers("b"))), "human-not-a-key", []),
        (broken(lambda key: key.update(form=9)), "human-key-version", [9]),
        (broken(lambda key: key.update(seed="5")), "human-key-field", ["its beginning: seed"]),
        (broken(lambda key: key.update(trials=[])), "human-key-trials", []),
        (broken(lambda key: key["trials"].append(key["trials"][0])), "human-key-trials", []),
        (broken(lambda key: key["trials"][0].update(repeats="nobody")), "human-key-trials", []),
        (broken(lambda key: key["trials"][1].update(left="c")), "human-key-field", ["trial 2: left"]),
        (broken(lambda key: key["trials"][1].pop("words")), "human-key-field", ["trial 2: words"]),
        (broken(lambda key: key.update(trials=[1])), "human-key-field", ["trial 1: id"]),
    ],
)
def test_a_damaged_key_is_told(tmp_path: Path, text: str, code: str, naming: list[Any]) -> None:
    file = tmp_path / "key.json"
    file.write_text(text, encoding="utf-8")
    with refused(code, UsageError, naming=[file, *naming]):
        read_key(file)


def test_a_key_that_is_not_there_is_told(tmp_path: Path) -> None:
    with refused("json-unreadable", UsageError, naming=tmp_path / "key.json"):
        read_key(tmp_path / "key.json")


# --- answers

STUDY = study()
FIRST = STUDY.trials[0].id
GOOD = answers(STUDY, prefers("b"))


def with_answer(**fields: Any) -> dict[str, Any]:
    return GOOD | {"answers": [{"id": FIRST, "choice": "left", "seconds": 1.5} | fields]}


@pytest.mark.parametrize(
    ("found", "code", "naming"),
    [
        ([], "human-no-answers", ""),
        ({}, "human-no-answers", ""),
        (GOOD | {"form": 2}, "human-answers-version", "version 2"),
        (GOOD | {"study": "0" * 20}, "human-other-study", ["0" * 20, STUDY.id]),
        (GOOD | {"study": ["x"]}, "human-other-study", ["a list", STUDY.id]),
        (GOOD | {"answers": []}, "human-answers-empty", ""),
        (GOOD | {"answers": {"id": 1}}, "human-answers-empty", ""),
        (GOOD | {"answers": [7]}, "human-answer-type", "answer 1 is 7"),
        (with_answer(id="unknown"), "human-answer-unknown-trial", "answer 1 is for 'unknown'"),
        (with_answer(id=["x"]), "human-answer-unknown-trial", "answer 1 is for a list"),
        (with_answer(choice="both"), "human-answer-choice", ["answer 1 chooses 'both'", "left, right or tie"]),
        (with_answer(choice=None), "human-answer-choice", "answer 1 chooses None"),
        (with_answer(choice="x" * 1000), "human-answer-choice", f"chooses '{'x' * 39}... "),
        (with_answer(seconds=-1), "human-answer-seconds", "took -1 seconds"),
        (with_answer(seconds=float("nan")), "human-answer-seconds", "took nan seconds"),
        (with_answer(seconds=float("inf")), "human-answer-seconds", "took inf seconds"),
        (with_answer(seconds="3"), "human-answer-seconds", "took '3' seconds"),
        (with_answer(seconds=True), "human-answer-seconds", "took True seconds"),
        (GOOD | {"answers": GOOD["answers"] + GOOD["answers"][:1]}, "human-answer-repeated", ["answer 15", FIRST]),
        (GOOD | {"rater": ""}, "human-answers-rater", ""),
        (GOOD | {"rater": 7}, "human-answers-rater", ""),
        (GOOD | {"rater": "x" * 201}, "human-answers-rater", "200"),
        (GOOD | {"started": None}, "human-answers-time", "None under `started`"),
        (GOOD | {"started": "yesterday"}, "human-answers-time", "'yesterday' under `started`"),
        (GOOD | {"finished": "2" * 500}, "human-answers-time", "under `finished`"),
    ],
)
def test_answers_that_cannot_be_used_are_told_in_a_sentence(
    tmp_path: Path, found: Any, code: str, naming: str | list[str]
) -> None:
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(found), encoding="utf-8")
    with refused(code, UsageError, naming=[file, *([naming] if isinstance(naming, str) else naming)]):
        read_answer_file(file, STUDY.questionnaire)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"not json", "json-invalid"),
        (b"", "json-invalid"),
        (b"\xff\xfe\x00", "json-invalid"),
        (b"[" * 200_000, "json-invalid"),
        (b'{"a":' * 200_000, "json-invalid"),
        (b"9" * 5000, "json-invalid"),
        (b" " * (MAX_ANSWER_BYTES + 1), "json-too-large"),
    ],
)
def test_files_that_are_no_answers_at_all_are_told(tmp_path: Path, content: bytes, code: str) -> None:
    file = tmp_path / "answers.json"
    file.write_bytes(content)
    naming = [file, "5,000,000"] if code == "json-too-large" else [file]
    with refused(code, UsageError, naming=naming):
        read_answer_file(file, STUDY.questionnaire)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(FIRST) | st.just(STUDY.id),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "id", "choice"]), inner),
    max_leaves=8,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # the first examples warm the strategies up
@given(st.dictionaries(st.sampled_from(list(GOOD)), json_values))
def test_whatever_json_comes_is_a_ballot_or_a_sentence(changes: dict[str, Any]) -> None:
    try:
        found = parse_answers(GOOD | changes, STUDY.questionnaire, "here")
    except UsageError as error:
        assert str(error).startswith("here")
        str(error).encode()
    else:
        found.rater.encode()


def test_a_name_that_cannot_be_printed_is_made_printable() -> None:
    found = parse_answers(GOOD | {"rater": " \ud800 anna\x1b[2J "}, STUDY.questionnaire, "here")
    assert found.rater == "? anna?[2J"


def test_one_sitting_counts_once_as_far_as_it_went_at_last(tmp_path: Path) -> None:
    part = GOOD | {"finished": None, "answers": GOOD["answers"][:3]}
    changed = GOOD | {"finished": "2026-01-02T04:00:00.000Z", "answers": answers(STUDY, prefers("a"))["answers"]}
    kinds = {"part": part, "whole": GOOD, "copy": GOOD, "changed": changed}
    for name, found in kinds.items():
        (tmp_path / name).write_text(json.dumps(found, indent=2 if name == "copy" else None), encoding="utf-8")
    files = [tmp_path / name for name in kinds]
    ballots, notes = read_answer_files(files[:3], STUDY.questionnaire)
    assert ballots == [answer_file(STUDY, prefers("b"))]
    assert notes == [
        f"{files[0]} is an earlier part of the sitting in {files[1]} and is not counted again.",
        f"{files[2]} contains the same answers as {files[1]} and is not counted again.",
    ]
    ballots, _ = read_answer_files([files[3], files[1]], STUDY.questionnaire)
    assert ballots[0].answers == answer_file(STUDY, prefers("a")).answers, (
        "the later one, whatever the order of the files"
    )


def test_two_sittings_of_one_name_are_two_raters(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        found = GOOD | {"started": f"2026-01-0{number}T00:00:00Z"} | ({"rater": "anna (2)"} if number == 3 else {})
        (tmp_path / str(number)).write_text(json.dumps(found), encoding="utf-8")
    ballots, notes = read_answer_files(sorted(tmp_path.iterdir()), STUDY.questionnaire)
    assert [one.rater for one in ballots] == ["anna", "anna (3)", "anna (2)"]
    assert notes == ['"anna" has two sittings; the second counts as another rater, "anna (3)".']


# --- the analysis


def test_who_always_prefers_b() -> None:
    """12 prompts, 2 repeats; Wilson of 12 in 12: from 12 / (12 + 1.96^2) on; sign test: 2 / 2^12."""
    found = outcome(STUDY, prefers("b"))
    (rater,) = found.raters
    assert (rater.votes, rater.share, rater.repeats, rater.agreed, rater.careless) == ((12, 0, 0), 1, 2, 2, False)
    assert (rater.left, rater.right) == (7, 7), "each side lies left in 6 of 12 and in 1 of 2"
    assert rater.seconds == 7.5, "the median of 1 to 14"
    overall = found.overall
    assert (overall.votes, overall.finding, overall.rate.distinct) == ((12, 0, 0), "b", 12)
    assert overall.interval.low == pytest.approx(12 / (12 + 1.959964**2))
    assert overall.rate.sign_test == pytest.approx(2 / 2**12)
    assert found.bias is not None and found.bias.share == 0.5


def test_who_always_prefers_a() -> None:
    overall = outcome(STUDY, prefers("a"), prefers("a")).overall
    assert (overall.votes, overall.rate.rate, overall.finding) == ((0, 0, 24), 0, "a")
    assert overall.rate.wilson.high == pytest.approx(1 - 12 / (12 + 1.959964**2)), "n is prompts, not votes"


def test_who_always_clicks_left_is_left_out_and_shows_a_bias_if_kept() -> None:
    left = lambda trial: "left"  # noqa: E731
    found = outcome(STUDY, left, prefers("b"))
    assert [(r.votes, r.agreed, r.careless, r.counted) for r in found.raters] == [
        ((6, 0, 6), 0, True, False),
        ((12, 0, 0), 2, False, True),
    ]
    assert found.overall.votes == (12, 0, 0)
    assert found.bias is not None and (found.bias.left, found.bias.right) == (7, 7)
    with refused("human-all-careless", UsageError, naming="--keep-careless"):
        outcome(STUDY, left)
    kept = outcome(STUDY, left, keep_careless=True)
    assert (kept.overall.rate.rate, kept.overall.finding) == (0.5, "open")
    assert kept.bias is not None and (kept.bias.left, kept.bias.share) == (14, 1)
    assert kept.bias.interval.low == pytest.approx(14 / (14 + 1.959964**2))


def test_who_never_prefers_anything() -> None:
    found = outcome(STUDY, lambda trial: "tie")
    assert (found.overall.votes, found.overall.rate.rate, found.bias) == ((0, 12, 0), 0.5, None)
    assert (found.raters[0].agreed, found.raters[0].careless) == (2, False)
    assert found.overall.finding == "open", "12 prompts are too few to say that the sides are equal"


def test_a_preference_and_none_agree_by_half() -> None:
    found = outcome(STUDY, lambda trial: "left" if trial.repeats is None else "tie")
    assert (found.raters[0].agreed, found.raters[0].careless) == (1, False), "half of 2 repeats, and so not left out"


def test_one_slip_is_no_proof_of_carelessness() -> None:
    few = study(8)
    assert [t.repeats is not None for t in few.trials].count(True) == 1
    found = outcome(few, lambda trial: "left")
    assert (found.raters[0].repeats, found.raters[0].agreed, found.raters[0].careless) == (1, 0, False)


def test_random_raters_are_mostly_told_to_say_too_little() -> None:
    """An interval of 95 % leaves out the truth in about 2 of 40 studies."""
    rng = random.Random(0)
    by_chance = lambda trial: rng.choice(["left", "right", "tie"])  # noqa: E731
    found = [
        outcome(study(24, seed=seed), by_chance, by_chance, keep_careless=True).overall.finding for seed in range(40)
    ]
    assert 34 <= found.count("open") + found.count("equal")


def test_few_prompts_need_wilsons_interval_too() -> None:
    """Of 12 prompts 8 for B and 4 split: the bootstrap alone would be sure."""
    both: Chooser = prefers("b")
    some: Chooser = lambda trial: prefers("b" if trial.pair.prompt < 8 else "a")(trial)  # noqa: E731
    standing = outcome(study(12, repeats=0.0), both, some, some).overall
    assert standing.rate.bootstrap.low > 0.5 > standing.rate.wilson.low == standing.interval.low
    assert (standing.finding, standing.more_prompts, standing.more_votes) == ("open", 8, 24), "20 prompts, 3 votes each"


def test_how_many_votes_would_tell() -> None:
    """12 of 20 for B: s^2 = 0.24, n = 0.24 (2.80158 / 0.1)^2 = 188.4, and 20 prompts are there already."""
    large = plan_study(pairs(20), StudyDesign(seed=2, repeats=0.0))
    choose: Chooser = lambda trial: prefers("b" if trial.pair.prompt < 12 else "a")(trial)  # noqa: E731
    one = outcome(large, choose).overall
    assert (one.votes, one.finding, one.rate.more_prompts, one.more_votes) == ((12, 0, 8), "open", 169, 169)
    two = outcome(large, choose, choose).overall
    assert (two.rate.more_prompts, two.more_votes) == (169, 338), "two votes for each prompt"
    few = outcome(study(8), choose).overall
    assert few.more_votes is None, "nothing can be foretold from 8 prompts"


def test_the_prompt_is_the_unit() -> None:
    """By hand: 2 prompts with 3 and 1 answered pairs have rates 2/3 and 0; their mean is 1/3, not 2/4."""
    of = plan_study([p for p in pairs(2, 3) if p.prompt == 0 or p.seed == 1003], StudyDesign(seed=1, repeats=0.0))
    choose = lambda t: prefers("b" if t.pair.seed in (1000, 1001) else "a")(t)  # noqa: E731
    overall = outcome(of, choose).overall
    assert (overall.votes, overall.rate.prompts) == ((2, 0, 2), 2)
    assert overall.rate.rate == pytest.approx(1 / 3)


def test_equal_words_are_one_trial() -> None:
    same = [replace(pair, words="the same") for pair in pairs(12)]
    overall = outcome(plan_study(same, StudyDesign(seed=1)), prefers("b")).overall
    assert (overall.rate.prompts, overall.rate.distinct, overall.finding) == (12, 1, "open")


def test_many_answers_that_are_split_evenly_say_equal() -> None:
    of = plan_study(pairs(40), StudyDesign(seed=1, repeats=0.0))
    overall = outcome(of, *[prefers("a"), prefers("b")] * 2).overall
    assert overall.finding == "open", "each prompt alike: the bootstrap has nothing to draw, and Wilson's is wide"
    one_off: Chooser = lambda t: prefers("a" if t.pair.prompt < 1 else "b")(t)  # noqa: E731
    assert outcome(of, prefers("a"), one_off).overall.finding == "equal"


def test_each_style_has_a_standing_of_its_own() -> None:
    of = plan_study(pairs(20, styles=("x", "y")), StudyDesign(seed=1))
    found = outcome(of, lambda t: prefers("b" if t.pair.style == "x" else "a")(t))
    assert {name: (one.votes, one.finding) for name, one in found.styles.items()} == {
        "x": ((10, 0, 0), "b"),
        "y": ((0, 0, 10), "a"),
    }
    assert found.overall.rate.rate == 0.5


def test_parts_and_nothing_at_all() -> None:
    part = answers(STUDY, prefers("b"))
    repeats = {trial.id for trial in STUDY.trials if trial.repeats}
    only = part | {"answers": [one for one in part["answers"] if one["id"] in repeats]}
    with refused("human-only-repeats", UsageError):
        analyse(STUDY, [parse_answers(only, STUDY.questionnaire, "here")])
    with refused("human-nothing-to-count", UsageError):
        analyse(STUDY, [])
    some = parse_answers(part | {"answers": part["answers"][:4]}, STUDY.questionnaire, "here")
    found = analyse(STUDY, [some])
    assert (sum(found.overall.votes), found.raters[0].repeats, len(found.each)) == (4, 0, 4)


@given(st.lists(st.lists(st.sampled_from(["left", "right", "tie"]), min_size=14, max_size=14), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_exchanging_the_sides_exchanges_the_result(choices: list[list[str]]) -> None:
    mirrored = replace(
        STUDY, trials=tuple(replace(trial, left="a" if trial.left == "b" else "b") for trial in STUDY.trials)
    )
    place = {trial.id: i for i, trial in enumerate(STUDY.trials)}
    choosers = [lambda trial, row=row: row[place[trial.id]] for row in choices]
    one = outcome(STUDY, *choosers, keep_careless=True)
    other = outcome(mirrored, *choosers, keep_careless=True)
    assert one.overall.votes == other.overall.votes[::-1]
    assert one.overall.rate.rate == pytest.approx(1 - other.overall.rate.rate)
    assert [r.agreed for r in one.raters] == [r.agreed for r in other.raters]
    assert one.bias == other.bias


# --- a duel's folder

HEAD = "side,prompt,seed,file,sha256,words\n"


def test_a_duels_pairs(tmp_path: Path) -> None:
    rows = "".join(f'{side},{p},{9 + p},{side}/{p}.png,0,"words, {p}"\n' for side in "ab" for p in range(2))
    (tmp_path / "images.csv").write_text(HEAD + rows)
    found = read_pairs(tmp_path)
    assert found == [Pair(prompt=p, words=f"words, {p}", seed=9 + p, a=f"a/{p}.png", b=f"b/{p}.png") for p in range(2)]
    assert read_side_names(tmp_path) == ("a", "b")
    (tmp_path / "result.json").write_text('{"a": "base", "b": "tuned"}')
    assert read_side_names(tmp_path) == ("base", "tuned")


def test_styles_are_those_that_the_duel_kept(tmp_path: Path) -> None:
    rows = "".join(
        f"{side},{p},{p},{side}/{p}.png,0,thing,{style}\n" for side in "ab" for p, style in enumerate(["x", ""])
    )
    (tmp_path / "images.csv").write_text(HEAD.replace("words", "words,style") + rows)
    assert [pair.style for pair in read_pairs(tmp_path)] == ["x", None]


@pytest.mark.parametrize(
    ("text", "code", "naming"),
    [
        (None, "duel-unfinished", []),
        ("nothing\n1\n", "duel-images-unreadable", []),
        (HEAD + "a,x,1,a/0.png,0,words\n", "duel-images-unreadable", []),
        (HEAD + "a,0\n", "duel-images-unreadable", []),
        (HEAD + "a,0,1,a/0.png,0\n", "duel-images-unreadable", ["too short"]),
        (HEAD + "a,0,1,../0.png,0,words\n", "duel-images-unreadable", ["../0.png lies outside the folder"]),
        (HEAD + "a,0,1,/0.png,0,words\n", "duel-images-unreadable", ["/0.png lies outside the folder"]),
        (HEAD + "a,0,1,a/0.png,0,words\n", "duel-not-two-sides", ["sides a for", "prompt 0, seed 1"]),
        (HEAD + "".join(f"{side},0,1,{side}/0.png,0,words\n" for side in "abc"), "duel-not-two-sides", ["a, b, c"]),
    ],
)
def test_a_folder_that_is_no_duel_is_told(tmp_path: Path, text: str | None, code: str, naming: list[str]) -> None:
    if text is not None:
        (tmp_path / "images.csv").write_text(text)
    with refused(code, UsageError, naming=[tmp_path, *naming]):
        read_pairs(tmp_path)
