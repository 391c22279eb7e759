"""The implicit reward as a classifier: by hand, by property, and about each rater's own thumbs."""

import json
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation import classifier
from thumbtune.evaluation.classifier import (
    HeldOutLabels,
    classification_scores,
    format_agreement,
    measure_agreement,
    scores_by_rater,
)
from thumbtune.feedback.enough import MIN_PROMPTS

FOUR = np.arange(4)
NOBODY = HeldOutLabels(np.array([], dtype=int), np.array([], dtype=bool))


def thumbs(liked: Any, raters: list[str] | None = None, image: Any = None) -> HeldOutLabels:
    """HeldOutLabels on the first images, one each, unless others are named."""
    kinds = np.array(liked, dtype=bool)
    return HeldOutLabels(np.arange(len(kinds)) if image is None else np.array(image), kinds, raters or [])


def said(*each: tuple[str, Any]) -> HeldOutLabels:
    """What each rater says of the first images, in turn."""
    return thumbs(
        [liked for _, kinds in each for liked in kinds],
        [rater for rater, kinds in each for _ in kinds],
        [place for _, kinds in each for place in range(len(kinds))],
    )


def turns(number: int, *kinds: bool) -> list[bool]:
    return list(islice(cycle(kinds), number))


# --- by hand --------------------------------------------------------------------------------------


def test_three_likes_and_a_dislike_by_hand() -> None:
    """Rewards 2, -1, 1 of likes and 0 of a dislike.

    AUC: 2 and 1 are above 0, -1 is not: 2/3. Signs: right, wrong, right, and 0 says neither: (1 + 0 + 1 + 1/2) / 4.
    Always "like" is right for 3 of 4. Balanced: (2/3 of likes + 1/2 of dislikes) / 2.
    """
    found = classification_scores(np.array([2.0, -1.0, 1.0, 0.0]), FOUR, thumbs([True, True, True, False]))
    assert found["auc"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(2.5 / 4)
    assert found["base_rate"] == pytest.approx(3 / 4)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert (found["images"], found["labels"], found["liked"], found["prompts"]) == (4, 4, 3, 4)


def test_a_model_that_finds_everything_likelier_has_the_base_rate_and_no_more() -> None:
    """The order is perfect and the sign says nothing: only the balanced accuracy shows it."""
    found = classification_scores(np.array([4.0, 3.0, 2.0, 1.0]), FOUR, thumbs([True, True, True, False]))
    assert found["auc"] == 1
    assert found["accuracy"] == found["base_rate"] == 0.75
    assert found["balanced_accuracy"] == found["balanced_accuracy_low"] == found["balanced_accuracy_high"] == 0.5


def test_intervals_count_prompts_and_not_images() -> None:
    """All of a prompt's images share its fate: with two prompts, one right and one wrong, nothing is known."""
    liked = np.tile([True, False], 20)
    sign = np.where(
        np.arange(40) < 20, 1, -1
    )  # right for the images of the first prompt, wrong for those of the second
    reward = np.where(liked, 1.0, -1.0) * sign
    few = classification_scores(reward, (np.arange(40) >= 20).astype(int), thumbs(liked))
    many = classification_scores(reward, np.arange(40), thumbs(liked))
    assert few["accuracy"] == many["accuracy"] == few["balanced_accuracy"] == 0.5
    assert (few["accuracy_low"], few["accuracy_high"]) == (few["balanced_accuracy_low"], few["balanced_accuracy_high"])
    assert (few["accuracy_low"], few["accuracy_high"]) == (0, 1)
    assert many["accuracy_low"] > 0.3 and many["accuracy_high"] < 0.7


# --- properties -----------------------------------------------------------------------------------

KINDS = st.lists(st.booleans(), min_size=4, max_size=30).filter(lambda kinds: 0 < sum(kinds) < len(kinds))
NAMES = ("accuracy", "balanced_accuracy")


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(kinds=KINDS)
def test_a_perfect_classifier_a_flipped_one_and_one_without_an_opinion(kinds: list[bool]) -> None:
    liked, prompt = np.array(kinds), np.arange(len(kinds)) // 2
    right = np.where(liked, 0.3, -0.1)
    perfect, flipped, none = (
        classification_scores(reward, prompt, thumbs(liked)) for reward in (right, -right, 0 * right)
    )
    for name in ("auc", *NAMES):
        assert (perfect[name], flipped[name], none[name]) == (1, 0, 0.5)
    for name in NAMES:
        assert (perfect[f"{name}_low"], flipped[f"{name}_high"]) == (1, 0)
        assert none[f"{name}_low"] == none[f"{name}_high"] == 0.5
    assert (perfect["low"], flipped["high"], none["low"], none["high"]) == (1, 0, 0.5, 0.5)


@settings(max_examples=25, deadline=None)
@given(kinds=KINDS, seed=st.integers(0, 99))
def test_flipping_the_reward_mirrors_all_and_intervals_hold_what_they_are_of(kinds: list[bool], seed: int) -> None:
    liked, prompt = np.array(kinds), np.arange(len(kinds)) // 3
    reward = np.random.default_rng(seed).integers(-2, 3, len(kinds)).astype(float)
    there, back = (classification_scores(values, prompt, thumbs(liked)) for values in (reward, -reward))
    assert 0.5 <= there["base_rate"] == back["base_rate"] < 1
    for name, low, high in [("auc", "low", "high"), *((n, f"{n}_low", f"{n}_high") for n in NAMES)]:
        assert there[name] == pytest.approx(1 - back[name])
        assert 0 <= there[low] <= there[name] <= there[high] <= 1
        assert there[low] == pytest.approx(1 - back[high])


# --- raters ---------------------------------------------------------------------------------------


def test_of_two_raters_who_differ_on_all_images_one_is_agreed_with() -> None:
    ann = turns(12, True, True, False)
    reward = np.where(ann, 1.0, -1.0)
    found = scores_by_rater(reward, np.arange(12), said(("Ann", ann), ("Bob", [not liked for liked in ann])))
    one, other = found["raters"]
    assert (one["rater"], other["rater"]) == ("rater 1", "rater 2")
    assert (one["auc"], one["low"], one["accuracy"], one["liked"]) == (1, 1, 1, 8)
    assert (other["auc"], other["high"], other["accuracy"], other["liked"]) == (0, 0, 0, 4)
    assert one["base_rate"] == other["base_rate"] == pytest.approx(8 / 12)
    assert found["raters_left_out"] == {"one_kind": 0, "few_prompts": 0, "rest": 0}


def test_raters_are_numbered_by_their_thumbs_and_nobody_is_named() -> None:
    votes = said(("Ann Archer", turns(10, True, False)), ("Zoe", turns(30, True, False)))
    found = measure_agreement(np.arange(30.0), [str(n) for n in range(30)], thumbs(turns(30, True, False)), votes)
    assert [(row["rater"], row["labels"]) for row in found["raters"]] == [("rater 1", 30), ("rater 2", 10)]
    assert "Ann" not in json.dumps(found) and "Zoe" not in json.dumps(found)


def test_raters_who_cannot_be_asked_are_counted() -> None:
    """One likes all, one has too few prompts, one has both faults: whoever has one kind is counted there."""
    votes = said(
        ("ann", turns(12, True, False)),
        ("bob", turns(12, True)),
        ("cyd", turns(MIN_PROMPTS - 1, True, False)),
        ("dan", [False, False]),
    )
    found = scores_by_rater(np.arange(12.0), np.arange(12), votes)
    assert [row["rater"] for row in found["raters"]] == ["rater 1"]
    assert found["raters_left_out"] == {"one_kind": 2, "few_prompts": 1, "rest": 0}
    assert scores_by_rater(np.arange(12.0), np.arange(12) // 2, votes)["raters"] == [], "twelve images of six prompts"


def test_a_crowd_has_as_many_rows_as_a_page_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "MAX_RATER_ROWS", 2)
    votes = said(*((f"r{n}", turns(10 + n, True, False)) for n in range(5)))
    found = scores_by_rater(np.arange(14.0), np.arange(14), votes)
    assert [row["labels"] for row in found["raters"]] == [14, 13]
    assert found["raters_left_out"] == {"one_kind": 0, "few_prompts": 0, "rest": 3}


def test_labels_and_votes_may_be_of_different_images_and_several_of_one() -> None:
    """Two raters tie on the last image, so that it has no label; each one's own thumb counts all the same."""
    labels = thumbs([True, False])
    votes = said(("ann", [True, False, True]), ("bob", [True, False, False]))
    reward = np.array([1.0, -1.0, 3.0])
    found = measure_agreement(reward, ["a", "b", "c"], labels, votes)
    assert (found["images"], found["labels"], found["prompts"]) == (2, 2, 2)
    assert found["raters_left_out"]["few_prompts"] == 2
    each = measure_agreement(reward, ["a", "b", "c"], votes, votes)  # the policy per-vote
    assert (each["images"], each["labels"], each["liked"], each["prompts"]) == (3, 6, 3, 3)


# --- refusals and the line ------------------------------------------------------------------------


def test_what_cannot_be_counted_is_refused_in_one_sentence() -> None:
    both = thumbs([True, False])
    for reward, prompts, labels, votes, code in (
        (np.array([1.0, np.nan]), ["a", "b"], both, NOBODY, None),  # the code is that of the AUC
        (np.array([1.0, 2.0]), ["a"], both, NOBODY, "agreement-length-mismatch"),
        (np.array([1.0, 2.0]), ["a", "b"], thumbs([True, True]), NOBODY, None),
        (np.array([1.0, 2.0]), ["a", "b"], both, both, "agreement-raters-mismatch"),  # votes of nobody
    ):
        with pytest.raises(ThumbtuneError) as refusal:
            measure_agreement(reward, prompts, labels, votes)
        assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)
        assert code is None or refusal.value.code == code


def test_the_line_for_people_has_the_base_rate_and_intervals_where_there_is_enough() -> None:
    ann = turns(12, True, True, False)
    votes = said(("ann", ann), ("bob", [not liked for liked in ann]))
    reward = np.where(ann, 1.0, -1.0)
    assert format_agreement(measure_agreement(reward, [str(n) for n in range(12)], thumbs(ann), votes)) == (
        "Held-out labels: AUC 1.00 (1.00 to 1.00); accuracy 100% (100% to 100%), base rate 67%; "
        "balanced accuracy 100% (100% to 100%). AUC of 2 raters: 0.00 to 1.00."
    )
    assert format_agreement(measure_agreement(reward, ["cat", "dog"] * 6, thumbs(ann), votes)) == (
        "Held-out labels: AUC 1.00; accuracy 100%, base rate 67%; balanced accuracy 100%."
    )
